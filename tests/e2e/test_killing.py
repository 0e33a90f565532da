"""Each process dies in turn, under load: what served goes on serving, and changes arrive again."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import manifests
import pytest
from cluster import node
from cluster.certificates import Authority
from cluster.clients import Client
from releases import Release
from traffic import Target, fetch, load

# One request can be under way on each connection when the engine dies.
CONNECTIONS = 10
OPERATOR = "app.kubernetes.io/component=operator"


@pytest.fixture(scope="module")
def site(namespace: Client, release: Release, authority: Authority) -> Target:
    """A backend behind a ZeroserveRoute for sturdy.example, whose header tells its version."""
    namespace.apply(manifests.backend("sturdy", replicas=2))
    namespace.rolled_out("deployment/sturdy")
    pair = authority.issue("sturdy", alternatives=("sturdy.example",))
    namespace.apply(manifests.tls_secret("sturdy-tls", pair))
    target = release.target("sturdy.example", authority.pair.certificate)
    change(namespace, release, target, "first")
    return target


def change(namespace: Client, release: Release, target: Target, version: str) -> None:
    """Change the route and wait until the change is served."""
    caddyfile = f'header X-Version "{version}"\nreverse_proxy sturdy:80'
    route = manifests.zeroserve_route("sturdy", target.host, caddyfile, "sturdy-tls", release.ingress_class)
    namespace.apply(route)
    namespace.eventually(lambda: fetch(namespace, target).headers["x-version"] == version, 60)


def container_of(pod: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the status of a container."""
    (found,) = (one for one in pod["status"]["containerStatuses"] if one["name"] == name)
    assert isinstance(found, dict)
    return found


@contextmanager
def killing(release: Release, component: str, container: str, program: str) -> Iterator[None]:
    """Kill a container's processes before the block; leave it when that is known, and it is ready again."""
    (pod,) = release.pods(component)
    before = container_of(pod, container)["restartCount"]
    assert release.client.kill(pod, program, signal.SIGKILL) >= 1
    yield

    def is_back() -> bool:
        (found,) = release.pods(component)
        status = container_of(found, container)
        return bool(status["restartCount"] > before and status["ready"])

    # Heard of late: until then the Pod is as ready as it was before.
    release.client.eventually(is_back, 90)


def test_killing_the_operator_fails_no_request(namespace: Client, release: Release, site: Target) -> None:
    with load(namespace, site, connections=CONNECTIONS) as report:
        with killing(release, "operator", "operator", "zeroserve operator"):
            report.wait_for(300)
        change(namespace, release, site, "after-operator")
    assert report.failures == []


def test_killing_the_agent_fails_no_request(namespace: Client, release: Release, site: Target) -> None:
    with load(namespace, site, connections=CONNECTIONS) as report:
        with killing(release, "dataplane", "agent", "zeroserve agent"):
            report.wait_for(300)
        change(namespace, release, site, "after-agent")
    assert report.failures == []


def supervisors(release: Release) -> list[int]:
    """Return the processes that outlive an engine, one for the only Pod."""
    running = node.processes_of_pod(release.dataplane_pod()["metadata"]["uid"])
    found = [pid for pid, command in running.items() if "zeroserve-engine supervise" in command]
    assert len(found) == 1, running
    return found


def test_killing_the_engine_loses_at_most_what_was_in_flight(
    namespace: Client, release: Release, site: Target
) -> None:
    supervisor = supervisors(release)
    with load(namespace, site, connections=CONNECTIONS) as report:
        assert release.client.kill(release.dataplane_pod(), "zeroserve-engine serve", signal.SIGKILL) == 1
        report.wait_for(300)
        change(namespace, release, site, "after-engine")
    # Each connection may lose one request; nobody is refused, as the supervisor holds the sockets.
    assert len(report.failures) <= CONNECTIONS, report.failures
    assert not [failure for failure in report.failures if "ConnectionRefused" in failure]
    assert supervisors(release) == supervisor


def test_a_pod_without_an_operator_starts_from_nothing_and_is_not_ready(
    namespace: Client, release: Release, site: Target
) -> None:
    """A new node that knows no route answers nobody: it joins the load balancer only when it serves."""
    former = release.dataplane_pod()["metadata"]["name"]

    def starting() -> dict[str, Any]:
        (found,) = (pod for pod in release.pods("dataplane") if pod["metadata"]["name"] != former)
        assert container_of(found, "agent")["started"], found["status"]
        return container_of(found, "agent")

    release.client.kubectl("scale", f"deployment/{release.name}-operator", "--replicas=0")
    try:
        # One on its way out would still tell the new Pod what to serve.
        release.client.eventually(lambda: not release.client.items("pods", "-l", OPERATOR), 60)
        with load(namespace, site, connections=CONNECTIONS) as report:
            release.client.kubectl("rollout", "restart", f"daemonset/{release.name}-dataplane")
            release.client.eventually(starting, 60)
            report.wait_for(300)
            assert not starting()["ready"]
        assert report.failures == []
    finally:
        release.client.kubectl("scale", f"deployment/{release.name}-operator", "--replicas=1")
        release.rolled_out()
