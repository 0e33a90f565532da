"""All replicas sign with one authority, and agents trust it before it signs."""

import datetime
from typing import Any

import pytest
from zeroserve_operator.cluster_client import ClusterError
from zeroserve_operator.publishing.trusting import OVERLAP, ROOT_LIFETIME, ROOT_RENEWAL
from zeroserve_operator.trust_keeping import TrustKeeper

NOW = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)


class ApiServer:
    """Keeps objects with resource versions; refuses writes on an old one."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.version = 0
        self.before_write: Any = None

    def request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        if method == "GET":
            if path not in self.objects:
                raise ClusterError(404, "not found")
            return self.objects[path]
        if self.before_write is not None:
            hook, self.before_write = self.before_write, None
            hook()
        key = path if method == "PUT" else f"{path}/{body['metadata']['name']}"
        known = self.objects.get(key)
        asked = body["metadata"].get("resourceVersion")
        if (method == "POST" and known) or (known and asked != known["metadata"]["resourceVersion"]):
            raise ClusterError(409, "conflict")
        self.version += 1
        self.objects[key] = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        return self.objects[key]

    @property
    def bundle(self) -> str:
        return str(self.objects["/api/v1/namespaces/system/configmaps/ca"]["data"]["ca.crt"])


@pytest.fixture
def server() -> ApiServer:
    return ApiServer()


@pytest.fixture
def keeper(server: ApiServer) -> TrustKeeper:
    return TrustKeeper(server, "system", "ca")


def test_the_first_replica_makes_an_authority_and_publishes_it(
    keeper: TrustKeeper, server: ApiServer
) -> None:
    state = keeper.refresh(NOW)
    assert server.bundle == state.bundle_pem.decode()


def test_another_replica_reads_the_same_authority(keeper: TrustKeeper, server: ApiServer) -> None:
    first, second = keeper.refresh(NOW), TrustKeeper(server, "system", "ca").refresh(NOW)
    assert first.dump() == second.dump()


def test_the_slower_of_two_replicas_takes_the_faster_ones_authority(
    keeper: TrustKeeper, server: ApiServer
) -> None:
    faster: list[bytes] = []
    server.before_write = lambda: faster.append(TrustKeeper(server, "system", "ca").refresh(NOW).dump())
    assert keeper.refresh(NOW).dump() == faster[0]


def test_a_successor_is_trusted_before_it_signs(keeper: TrustKeeper, server: ApiServer) -> None:
    first = keeper.refresh(NOW)
    announced = keeper.refresh(NOW + ROOT_LIFETIME - ROOT_RENEWAL + datetime.timedelta(days=1))
    assert announced.active.certificate_pem == first.active.certificate_pem
    assert server.bundle.count("BEGIN CERTIFICATE") == 2
    promoted = keeper.refresh(NOW + ROOT_LIFETIME - ROOT_RENEWAL + datetime.timedelta(days=2) + OVERLAP)
    assert promoted.active.certificate_pem != first.active.certificate_pem
    assert server.bundle.count("BEGIN CERTIFICATE") == 2


def test_a_damaged_secret_is_replaced(keeper: TrustKeeper, server: ApiServer) -> None:
    keeper.refresh(NOW)
    server.objects["/api/v1/namespaces/system/secrets/ca"]["data"]["state"] = "bm8="
    assert keeper.refresh(NOW).bundle_pem.decode() == server.bundle
