"""The life of an installation: install, upgrade to new images under load, roll back, uninstall."""

import time
from collections.abc import Iterator

import manifests
import pytest
from cluster.certificates import Authority
from cluster.clients import Client
from releases import TAGS, Release, import_images
from traffic import Target, fetch, load

LEASE_SECONDS = 15


@pytest.fixture(scope="module")
def installed(cluster: Client, release: Release) -> Iterator[Release]:
    """A second installation beside the shared one, with a class of its own."""
    import_images(cluster, tags=TAGS)
    second = Release(cluster.within("zeroserve-second"), "second", "second", "198.51.100.20")
    second.install("--set", "operator.replicas=2")
    yield second
    second.client.kubectl("delete", "namespace", second.client.namespace, "--wait=false")


@pytest.fixture(scope="module")
def site(namespace: Client, installed: Release, authority: Authority) -> Target:
    namespace.apply(manifests.backend("site", replicas=2))
    namespace.rolled_out("deployment/site")
    pair = authority.issue("site", alternatives=("site.example",))
    namespace.apply(manifests.tls_secret("site-tls", pair))
    namespace.apply(manifests.ingress("site", "site.example", "site", "site-tls", installed.ingress_class))
    target = installed.target("site.example", authority.pair.certificate)
    namespace.eventually(lambda: fetch(namespace, target).status == 200, 120)
    return target


def test_an_installation_serves_its_own_class_alone(
    namespace: Client, release: Release, site: Target, authority: Authority
) -> None:
    shared = Target(release.address, site.host)
    assert fetch(namespace, site).status == 200
    assert fetch(namespace, shared).status == 404


def test_two_operators_elect_one_that_writes(installed: Release, site: Target) -> None:
    pods = {pod["metadata"]["name"] for pod in installed.pods("operator")}
    assert len(pods) == 2

    def is_held() -> bool:
        (lease,) = installed.client.items("leases")
        return bool(lease["spec"]["holderIdentity"] in pods)

    installed.client.eventually(is_held, 8 * LEASE_SECONDS)


def test_the_one_that_writes_counts_the_nodes_of_the_other(namespace: Client, installed: Release) -> None:
    """The only agent holds a stream to one operator; the Lease is given to the other one."""
    logs = {
        (name := pod["metadata"]["name"]): installed.client.kubectl("logs", name, "--tail=-1")
        for pod in installed.pods("operator")
    }
    (serving,) = (
        name for name, log in logs.items() if log.count(" subscribed, ") > log.count("the stream of")
    )
    (other,) = logs.keys() - {serving}
    patch = f'{{"spec":{{"holderIdentity":"{other}"}}}}'
    installed.client.kubectl("patch", "lease", "second-operator", "--type=merge", "-p", patch)
    # Who held it writes until its own deadline.
    time.sleep(LEASE_SECONDS)
    (lease,) = installed.client.items("leases")
    assert lease["spec"]["holderIdentity"] == other
    text = manifests.zeroserve_route(
        "counted", "counted.example", 'respond "counted"', "none", installed.ingress_class
    )
    namespace.apply(text)

    def counted() -> bool:
        status = namespace.get("zeroserveroute", "counted").get("status", {})
        return bool(status.get("nodes") == {"acked": 1, "total": 1})

    assert namespace.eventually(counted, 120)


def test_an_upgrade_to_new_images_fails_no_request(
    namespace: Client, installed: Release, site: Target
) -> None:
    before = installed.images_of()
    with load(namespace, site) as report:
        installed.upgrade("--set", "operator.replicas=2", tag=TAGS[1])
        report.wait_for(200)
    after = installed.images_of()
    assert report.failures == []
    assert all(image.endswith(TAGS[1]) for image in after) and not before & after


def test_a_rollback_fails_no_request(namespace: Client, installed: Release, site: Target) -> None:
    with load(namespace, site) as report:
        installed.client.helm("rollback", installed.name, "1")
        installed.rolled_out()
        report.wait_for(200)
    assert report.failures == []
    assert all(image.endswith(TAGS[0]) for image in installed.images_of())


def test_an_uninstall_leaves_routes_and_definitions(
    namespace: Client, installed: Release, site: Target
) -> None:
    installed.client.helm("uninstall", installed.name, "--wait", "--timeout=120s")
    left = installed.client.kubectl("get", "deployments,daemonsets,services,networkpolicies", "-o", "name")
    assert left == ""
    assert namespace.get("ingress", "site")["metadata"]["name"] == "site"
    assert namespace.get("crd", "zeroserveroutes.zeroserve.dev")
