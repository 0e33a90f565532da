"""The chart against a real API server: what it accepts of it, and which rights the accounts end up with."""

import os
from pathlib import Path
from typing import Any

import manifests
import pytest
import yaml
from cluster.clients import Client, CommandError
from releases import CHART

RIGHTS = Path(__file__).parents[1] / "golden" / "chart" / "rights"
WORKLOADS = {"Deployment", "DaemonSet"}
# The API server's authorizer hears of a role a moment after it was made.
SETTLED_SECONDS = 60


def render(client: Client, *settings: str) -> list[dict[str, Any]]:
    text = client.helm("template", "zeroserve", str(CHART), *settings)
    return [document for document in yaml.safe_load_all(text) if document]


def pods_of(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a Pod for each workload, as its controller would make it."""
    found = []
    for document in documents:
        if document["kind"] in WORKLOADS:
            template = document["spec"]["template"]
            metadata = template["metadata"] | {"name": document["metadata"]["name"]}
            # Only the admission of the Pod itself is asked for.
            spec = template["spec"] | {"serviceAccountName": "default"}
            found.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    return found


@pytest.mark.parametrize("kind", ["DaemonSet", "Deployment"])
def test_default_pods_pass_pod_security_restricted(namespace: Client, kind: str) -> None:
    pods = pods_of(render(namespace, "--set", f"dataplane.kind={kind}"))
    assert len(pods) == 2
    namespace.kubectl("create", "--dry-run=server", "-f", "-", stdin=manifests.dump(*pods))


def test_ports_of_the_node_do_not_pass_it(namespace: Client) -> None:
    pods = pods_of(render(namespace, "--set", "dataplane.hostPorts.enabled=true"))
    with pytest.raises(CommandError, match="hostPort"):
        namespace.kubectl("create", "--dry-run=server", "-f", "-", stdin=manifests.dump(*pods))


def test_the_api_server_knows_every_field(namespace: Client) -> None:
    documents = render(namespace, "--set", "operator.replicas=2")
    text = manifests.dump(*documents)
    namespace.kubectl(
        "apply", "--dry-run=server", "--validate=strict", "--server-side", "-f", "-", stdin=text
    )


@pytest.mark.parametrize("account", ["operator", "dataplane"])
def test_accounts_have_the_recorded_rights_and_no_more(namespace: Client, account: str) -> None:
    rights = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
    documents = [document for document in render(namespace) if document["kind"] in rights]
    namespace.apply(manifests.dump(*documents))
    golden = RIGHTS / f"{account}.txt"

    def list_rights() -> str:
        name = f"system:serviceaccount:{namespace.namespace}:zeroserve-{account}"
        listed = namespace.kubectl("auth", "can-i", "--list", f"--as={name}", "--no-headers")
        return "\n".join(sorted(" ".join(line.split()) for line in listed.splitlines())) + "\n"

    def are_as_recorded() -> bool:
        assert list_rights() == golden.read_text()
        return True

    try:
        if os.environ.get("GOLDEN") == "write":
            golden.parent.mkdir(exist_ok=True)
            golden.write_text(list_rights())
        namespace.eventually(are_as_recorded, SETTLED_SECONDS)
    finally:
        namespace.kubectl("delete", "-f", "-", stdin=manifests.dump(*documents))
