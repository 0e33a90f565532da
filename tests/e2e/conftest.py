"""Fixtures of the end-to-end tests: one cluster for the session, one release of the product that most tests
share.

E2E=0 skips them all. E2E_KEEP=1 uses a cluster that is up (`python -m cluster up`) and leaves it up.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE.parents[1], HERE):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import registries  # noqa: E402
import releases  # noqa: E402
from cluster import processes, running  # noqa: E402
from cluster.certificates import Authority  # noqa: E402
from cluster.clients import Client, CommandError  # noqa: E402
from cluster.places import ClusterError, Places  # noqa: E402

# The first test waits for the cluster, which the first run on a machine builds from source.
TIMEOUT_SECONDS = 2400


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure's report what the product's Pods say."""
    report = yield
    places = Places.from_environment()
    if report.failed and HERE in item.path.parents and processes.started(places, "kubelet"):
        with suppress(ClusterError, CommandError):  # the cluster may be what failed
            report.sections += releases.tell(running.attach(places))
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip by E2E=0 alone, and let each test take as long as a cold build does."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(TIMEOUT_SECONDS))
            if os.environ.get("E2E") == "0":
                item.add_marker(pytest.mark.skip(reason="E2E=0"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Client]:
    """Start the cluster; its client works in the namespace "default"."""
    places, keep = Places.from_environment(), os.environ.get("E2E_KEEP") == "1"
    if keep and processes.started(places, "kube-apiserver"):
        yield running.attach(places)
        return
    running.end_abandoned(places)
    if processes.started(places, "kube-apiserver"):
        pytest.exit("a cluster is up: end it (python -m cluster down), or use it (E2E_KEEP=1)", 1)
    try:
        if not keep:
            running.own(places)
        client = running.up(places)
        yield client.within("default")
    finally:
        if not keep:
            running.down(places)


@pytest.fixture(scope="module")
def namespace(cluster: Client, request: pytest.FixtureRequest) -> Iterator[Client]:
    """Return a client in a namespace of the test file's own, under Pod Security "restricted"."""
    name = Path(str(request.path)).stem.removeprefix("test_").replace("_", "-")
    client = cluster.within(f"e2e-{name}")
    client.make_namespace()
    yield client
    client.kubectl("delete", "namespace", client.namespace, "--wait=false")


@pytest.fixture(scope="session")
def authority() -> Authority:
    """Return who signs the certificates of the tests' hosts."""
    return Authority("zeroserve-e2e-sites")


@pytest.fixture(scope="session")
def release(cluster: Client) -> Iterator[releases.Release]:
    """Install the product once for all tests that do not change the installation itself."""
    releases.import_images(cluster)
    shared = releases.Release(cluster.within("zeroserve-system"), "zeroserve", "zeroserve", "198.51.100.10")
    try:
        shared.install("--set", f"plugins.registries[0]={registries.ALLOWED}")
        yield shared
    finally:
        shared.client.helm("uninstall", shared.name, "--wait")
