"""A seccomp profile that refuses io_uring, as newer runtimes do by default: the engine serves by epoll."""

import json
from collections.abc import Iterator

import manifests
import pytest
import seccomp
from cluster.certificates import Authority
from cluster.clients import Client
from releases import Release, import_images
from traffic import fetch, load


@pytest.fixture(scope="module")
def installed(cluster: Client, release: Release) -> Iterator[Release]:
    import_images(cluster)
    seccomp.put_profiles(cluster.places)
    profile = {"type": "Localhost", "localhostProfile": seccomp.WITHOUT_RINGS}
    found = Release(cluster.within("zeroserve-epoll"), "epoll", "epoll", "198.51.100.30")
    found.install("--set-json", f"dataplane.seccomp={json.dumps(profile)}")
    yield found
    found.client.kubectl("delete", "namespace", found.client.namespace, "--wait=false")


def test_the_engine_serves_by_epoll_and_says_why(
    namespace: Client, installed: Release, authority: Authority
) -> None:
    namespace.apply(manifests.backend("epoll"))
    namespace.rolled_out("deployment/epoll")
    pair = authority.issue("epoll", alternatives=("epoll.example",))
    namespace.apply(manifests.tls_secret("epoll-tls", pair))
    namespace.apply(
        manifests.ingress("epoll", "epoll.example", "epoll", "epoll-tls", installed.ingress_class)
    )
    target = installed.target("epoll.example", authority.pair.certificate)
    namespace.eventually(lambda: fetch(namespace, target).status == 200, 120)
    with load(namespace, target) as report:
        report.wait_for(300)
    assert report.failures == []
    assert installed.metric("zeroserve_engine_io_backend", backend="epoll") >= 1
    executions = "zeroserve_engine_program_executions_total"
    namespace.eventually(lambda: installed.metric(executions, mode="native") >= 300, 120)
    assert installed.metric(executions, mode="interpreted") == 0
