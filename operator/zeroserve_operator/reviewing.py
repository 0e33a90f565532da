"""Whose token a client shows: the API server says which Pod, and the Pod says which node and what it is.

In: a bearer token. Out: the identity, or `UnauthenticatedError`. Rule: the token must be for our audience and
belong to a Pod of our own namespace that lives and has the labels of the data plane or of an operator.
"""

from __future__ import annotations

import asyncio
from typing import Any

from zeroserve_operator.cluster_client import ClusterError, Requests
from zeroserve_operator.publishing.serving import Component, NodeIdentity, UnauthenticatedError

AUDIENCE = "zeroserve-operator"
COMPONENT_LABEL = "app.kubernetes.io/component"
POD_NAME_KEY = "authentication.kubernetes.io/pod-name"
POD_UID_KEY = "authentication.kubernetes.io/pod-uid"
ENDED_PHASES = ("Succeeded", "Failed")


class TokenReviewer:
    """Reviews tokens by TokenReview (authentication.k8s.io/v1)."""

    def __init__(self, client: Requests, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def review(self, token: str) -> NodeIdentity:
        """Return the identity; ClusterError where the API server cannot be asked."""
        return await asyncio.to_thread(self._review, token)

    def _review(self, token: str) -> NodeIdentity:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        status = (
            self._client.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body).get("status")
            or {}
        )
        if not status.get("authenticated") or AUDIENCE not in (status.get("audiences") or ()):
            raise UnauthenticatedError(status.get("error") or "the token is not valid for the operator")
        user = status.get("user") or {}
        if not str(user.get("username")).startswith(f"system:serviceaccount:{self._namespace}:"):
            raise UnauthenticatedError(f"{user.get('username')} is not of namespace {self._namespace}")
        extra = user.get("extra") or {}
        name, uid = _first(extra, POD_NAME_KEY), _first(extra, POD_UID_KEY)
        if not name:
            raise UnauthenticatedError("the token is not bound to a Pod")
        return self._find_node(name, uid)

    def _find_node(self, name: str, uid: str) -> NodeIdentity:
        try:
            pod = self._client.request("GET", f"/api/v1/namespaces/{self._namespace}/pods/{name}")
        except ClusterError as error:
            if error.status == 404:
                raise UnauthenticatedError(f"Pod {name} is gone") from error
            raise
        metadata = pod.get("metadata") or {}
        if metadata.get("uid") != uid or (pod.get("status") or {}).get("phase") in ENDED_PHASES:
            raise UnauthenticatedError(f"Pod {name} has ended")
        label = (metadata.get("labels") or {}).get(COMPONENT_LABEL)
        component = next((one for one in Component if one.value == label), None)
        if component is None:
            raise UnauthenticatedError(f"Pod {name} is neither of the data plane nor of an operator")
        return NodeIdentity(str((pod.get("spec") or {}).get("nodeName") or ""), name, component)


def _first(extra: dict[str, Any], key: str) -> str:
    values = extra.get(key) or [""]
    return str(values[0])
