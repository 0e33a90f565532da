"""Each process dies in turn, under load: what served goes on serving, and changes arrive again."""

import signal

import manifests
import pytest
from cluster.certificates import Authority
from cluster.clients import Client
from releases import Release
from traffic import Target, fetch, load

# One request can be under way on each connection when the engine dies.
CONNECTIONS = 10


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


def test_killing_the_operator_fails_no_request(namespace: Client, release: Release, site: Target) -> None:
    (operator,) = release.client.pods("app.kubernetes.io/component=operator")
    with load(namespace, site, connections=CONNECTIONS) as report:
        assert release.client.kill(operator, "zeroserve operator", signal.SIGKILL) >= 1
        report.wait_for(300)
        release.rolled_out()
        change(namespace, release, site, "after-operator")
    assert report.failures == []


def test_killing_the_agent_fails_no_request(namespace: Client, release: Release, site: Target) -> None:
    with load(namespace, site, connections=CONNECTIONS) as report:
        assert release.client.kill(release.dataplane_pod(), "zeroserve agent", signal.SIGKILL) >= 1
        report.wait_for(300)
        release.rolled_out()
        change(namespace, release, site, "after-agent")
    assert report.failures == []


def test_killing_the_engine_loses_at_most_what_was_in_flight(
    namespace: Client, release: Release, site: Target
) -> None:
    with load(namespace, site, connections=CONNECTIONS) as report:
        assert release.client.kill(release.dataplane_pod(), "zeroserve-engine serve", signal.SIGKILL) == 1
        report.wait_for(300)
        change(namespace, release, site, "after-engine")
    # Each connection may lose one request; nobody is refused, as the supervisor holds the sockets.
    assert len(report.failures) <= CONNECTIONS, report.failures
    assert not [failure for failure in report.failures if "ConnectionRefused" in failure]
    statuses = release.dataplane_pod()["status"]
    assert isinstance(statuses, dict)
    restarts = {one["name"]: one["restartCount"] for one in statuses["containerStatuses"]}
    assert restarts["engine"] == 0


def test_a_pod_without_an_operator_starts_from_nothing_and_is_not_ready(
    namespace: Client, release: Release, site: Target
) -> None:
    """A new node that knows no route answers nobody: it joins the load balancer only when it serves."""
    release.client.kubectl("scale", f"deployment/{release.name}-operator", "--replicas=0")
    try:
        with load(namespace, site, connections=CONNECTIONS) as report:
            release.client.kubectl("rollout", "restart", f"daemonset/{release.name}-dataplane")
            report.wait_for(500)
        assert report.failures == []
    finally:
        release.client.kubectl("scale", f"deployment/{release.name}-operator", "--replicas=1")
        release.rolled_out()
