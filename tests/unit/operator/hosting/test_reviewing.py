"""An agent is who its token's Pod is, and nobody else."""

import asyncio
from typing import Any

import pytest
from zeroserve_operator.cluster_client import ClusterError
from zeroserve_operator.publishing.serving import Component, NodeIdentity, UnauthenticatedError
from zeroserve_operator.reviewing import AUDIENCE, TokenReviewer

NAMESPACE = "zeroserve-system"
EXTRA = {
    "authentication.kubernetes.io/pod-name": ["dataplane-x"],
    "authentication.kubernetes.io/pod-uid": ["uid-1"],
}
REVIEW = {
    "authenticated": True,
    "audiences": [AUDIENCE],
    "user": {"username": f"system:serviceaccount:{NAMESPACE}:dataplane", "extra": EXTRA},
}
POD = {
    "metadata": {"uid": "uid-1", "labels": {"app.kubernetes.io/component": "dataplane"}},
    "spec": {"nodeName": "node-1"},
    "status": {"phase": "Running"},
}


class ApiServer:
    """Answers one review and one Pod, as an API server would."""

    def __init__(self, review: dict[str, Any], pod: dict[str, Any] | None) -> None:
        self.status = review
        self.pod = pod
        self.asked: Any = None

    def request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        if method == "POST":
            self.asked = body["spec"]
            return {"status": self.status}
        if self.pod is None or not path.endswith(f"/namespaces/{NAMESPACE}/pods/dataplane-x"):
            raise ClusterError(404, "not found")
        return self.pod


def review(server: ApiServer) -> NodeIdentity:
    return asyncio.run(TokenReviewer(server, NAMESPACE).review("token"))


def test_a_live_pod_of_the_data_plane_is_its_node() -> None:
    server = ApiServer(REVIEW, POD)
    assert review(server) == NodeIdentity("node-1", "dataplane-x")
    assert server.asked == {"token": "token", "audiences": [AUDIENCE]}


def test_a_pod_of_an_operator_is_no_node_but_a_replica() -> None:
    labels = {"app.kubernetes.io/component": "operator"}
    found = review(ApiServer(REVIEW, {**POD, "metadata": {"uid": "uid-1", "labels": labels}}))
    assert found.component is Component.OPERATOR


@pytest.mark.parametrize(
    ("status", "pod"),
    [
        ({"authenticated": False, "error": "expired"}, POD),
        ({**REVIEW, "audiences": ["https://kubernetes.default.svc"]}, POD),
        ({**REVIEW, "user": {"username": "system:serviceaccount:other:dataplane", "extra": EXTRA}}, POD),
        ({**REVIEW, "user": {"username": "system:serviceaccount:zeroserve-system-2:x", "extra": EXTRA}}, POD),
        ({**REVIEW, "user": {"username": "admin", "extra": EXTRA}}, POD),
        ({**REVIEW, "user": {"username": REVIEW["user"]["username"]}}, POD),  # type: ignore[index]
        (REVIEW, None),
        (REVIEW, {**POD, "metadata": {**POD["metadata"], "uid": "uid-2"}}),
        (
            REVIEW,
            {**POD, "metadata": {"uid": "uid-1", "labels": {"app.kubernetes.io/component": "other"}}},
        ),
        (REVIEW, {**POD, "status": {"phase": "Failed"}}),
    ],
)
def test_anybody_else_is_refused(status: dict[str, Any], pod: dict[str, Any] | None) -> None:
    with pytest.raises(UnauthenticatedError):
        review(ApiServer(status, pod))
