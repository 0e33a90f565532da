"""Purges: what nodes keep of a namespace is served until a ZeroserveCachePurge of that namespace."""

from collections.abc import Iterator

import manifests
import pytest
from cluster.clients import Client
from releases import Release
from traffic import Target, fetch

HOST = "kept.example"
ALL_OF_HOST = f"http://{HOST}/*"


@pytest.fixture(scope="module")
def kept(namespace: Client, release: Release) -> Target:
    """A backend whose answers are kept for an hour."""
    namespace.apply(manifests.backend("kept"))
    namespace.rolled_out("deployment/kept")
    caddyfile = "cache 1h\nreverse_proxy kept:80"
    namespace.apply(manifests.zeroserve_route("kept", HOST, caddyfile, "", release.ingress_class))
    target = Target(release.address, HOST)
    namespace.eventually(lambda: fetch(namespace, target, "/ready").status == 200, 120)
    return target


@pytest.fixture(scope="module")
def neighbour(namespace: Client) -> Iterator[Client]:
    """Return a client in another namespace."""
    client = namespace.within(f"{namespace.namespace}-neighbour")
    client.make_namespace()
    yield client
    client.kubectl("delete", "namespace", client.namespace, "--wait=false")


def ask(client: Client, target: Target, mark: str) -> str:
    """Ask with a mark; return that of the request that was answered: an earlier one's if it was kept."""
    return str(fetch(client, target, "/news", X_Mark=mark).json()["headers"]["X-Mark"][0])


def keep(client: Client, target: Target, mark: str) -> str:
    """Return the mark of the answer that is kept from now on."""
    found = ask(client, target, mark)
    assert ask(client, target, f"not-{mark}") == found
    return found


def purge(client: Client, name: str, *targets: str) -> None:
    """Apply a purge, and wait until it says that it is done."""
    wanted = {
        "apiVersion": "zeroserve.dev/v1alpha1",
        "kind": "ZeroserveCachePurge",
        "metadata": {"name": name},
        "spec": {"targets": list(targets)},
    }
    client.apply(manifests.dump(wanted))
    client.kubectl("wait", "--for=condition=Programmed", f"zscp/{name}", "--timeout=120s")
    assert client.get("zscp", name)["status"]["nodes"] == {"acked": 1, "total": 1}


def test_a_purge_is_done_once_all_nodes_have_forgotten(namespace: Client, kept: Target) -> None:
    keep(namespace, kept, "before")
    purge(namespace, "news", ALL_OF_HOST)
    assert ask(namespace, kept, "after") == "after"


def test_the_command_purges_a_namespace_and_ends_when_all_nodes_have(namespace: Client, kept: Target) -> None:
    keep(namespace, kept, "before-command")
    told = namespace.zeroserve("cache", "purge", ALL_OF_HOST, "--namespace", namespace.namespace)
    assert "done by 1 of 1 nodes" in told
    assert ask(namespace, kept, "after-command") == "after-command"


def test_a_purge_of_another_namespace_touches_nothing(
    namespace: Client, neighbour: Client, kept: Target
) -> None:
    mark = keep(namespace, kept, "ours")
    purge(neighbour, "theirs", "*", ALL_OF_HOST)
    assert ask(namespace, kept, "theirs") == mark
