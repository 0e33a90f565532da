"""What changes in a cluster every day, under load: no request fails."""

import ssl
from functools import partial

import manifests
import pytest
from cluster.certificates import Authority
from cluster.clients import Client
from releases import Release
from traffic import Target, echoing, fetch, load


@pytest.fixture(scope="module")
def site(namespace: Client, release: Release, authority: Authority) -> Target:
    """Three Pods behind an Ingress for rolling.example."""
    namespace.apply(manifests.backend("rolling", replicas=3))
    namespace.rolled_out("deployment/rolling")
    pair = authority.issue("rolling", alternatives=("rolling.example",))
    namespace.apply(manifests.tls_secret("rolling-tls", pair))
    text = manifests.ingress("rolling", "rolling.example", "rolling", "rolling-tls", release.ingress_class)
    namespace.apply(text)
    target = release.target("rolling.example", authority.pair.certificate)
    namespace.eventually(lambda: fetch(namespace, target).status == 200, 120)
    return target


def test_rolling_the_pods_of_a_backend_fails_no_request(namespace: Client, site: Target) -> None:
    def names() -> set[str]:
        return {pod["metadata"]["name"] for pod in namespace.pods("app=rolling")}

    before = names()
    with load(namespace, site) as report:
        namespace.kubectl("rollout", "restart", "deployment/rolling")
        namespace.rolled_out("deployment/rolling")
        after = names()
        namespace.eventually(lambda: after <= report.pods, 120)
    assert report.failures == []
    assert not before & after


def test_scaling_down_and_up_fails_no_request(namespace: Client, site: Target) -> None:
    with load(namespace, site) as report:
        for replicas in (1, 4, 3):
            namespace.kubectl("scale", "deployment/rolling", f"--replicas={replicas}")
            namespace.rolled_out("deployment/rolling")
            report.wait_for(100)
    assert report.failures == []


def test_a_rotated_certificate_is_served_without_a_failed_request(
    namespace: Client, site: Target, authority: Authority
) -> None:
    def serves(wanted: bytes) -> bool:
        return fetch(namespace, site).certificate == wanted

    with load(namespace, site) as report:
        for _ in range(3):
            pair = authority.issue("rolling", alternatives=("rolling.example",))
            namespace.apply(manifests.tls_secret("rolling-tls", pair))
            wanted = ssl.PEM_cert_to_DER_cert(pair.certificate.decode())
            namespace.eventually(partial(serves, wanted), 120)
        report.wait_for(50)
    assert report.failures == []


def test_a_broken_certificate_leaves_the_former_one(
    namespace: Client, site: Target, authority: Authority
) -> None:
    before = fetch(namespace, site).certificate
    good, other = (authority.issue("rolling", alternatives=("rolling.example",)) for _ in range(2))
    mismatched = manifests.tls_secret("rolling-tls", type(good)(good.certificate, other.key))
    with load(namespace, site) as report:
        namespace.apply(mismatched)
        report.wait_for(300)
        assert fetch(namespace, site).certificate == before
    assert report.failures == []
    namespace.apply(manifests.tls_secret("rolling-tls", good))
    wanted = ssl.PEM_cert_to_DER_cert(good.certificate.decode())
    namespace.eventually(lambda: fetch(namespace, site).certificate == wanted, 120)


def test_changing_routes_and_certificates_fails_no_request_and_ends_no_websocket(
    namespace: Client, release: Release, site: Target, authority: Authority
) -> None:
    with load(namespace, site) as report, echoing(namespace, site) as echoes:
        for turn in range(20):
            text = manifests.zeroserve_route(
                "churn", "churn.example", f'respond "{turn}"', "none", release.ingress_class
            )
            pair = authority.issue("rolling", alternatives=("rolling.example",))
            namespace.apply(text + "---\n" + manifests.tls_secret("rolling-tls", pair))
        report.wait_for(200)
        echoes.wait_for(20)
    assert (report.failures, echoes.failures) == ([], [])
    assert report.announced_closes == 0
