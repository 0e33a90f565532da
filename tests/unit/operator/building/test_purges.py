"""ZeroserveCachePurges: what nodes are told of them, how many, and for how long."""

from datetime import UTC, datetime, timedelta

import pytest
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.codes import Code
from zeroserve_ir.purges import AWAY_S, PURGE_LIFE_S
from zeroserve_operator.building.model import Builder, ObjectOutcome
from zeroserve_operator.building.purges import PURGES_MAX
from zeroserve_operator.cluster_client import ClusterError
from zeroserve_operator.purging import DELETIONS_MAX, delete_old_purges
from zeroserve_operator.resources.objects import Kind, ObjectKey
from zeroserve_operator.resources.purges import TARGET_LENGTH_MAX, TARGETS_MAX
from zeroserve_operator.settings import BuildSettings
from zeroserve_operator.statuses import NodeCount, make_purge_status
from zeroserve_operator.store import Store

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SETTINGS = BuildSettings(local=True)


def take(store, number=1, *, namespace="shop", targets=("https://shop.example/*",), uid=None, age_s=60.0):
    key = ObjectKey(Kind.CACHE_PURGE, namespace, f"purge-{number}")
    created = (NOW - timedelta(seconds=age_s - number)).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = {"name": key.name, "namespace": namespace, "creationTimestamp": created, "generation": 1}
    store.put(key, {"metadata": metadata | {"uid": uid or str(number)}, "spec": {"targets": list(targets)}})
    return key


def told(build):
    return [
        pb.Purge.FromString(one.payload) for key, one in build.draft.resources.items() if key[0] == pb.PURGE
    ]


def test_nodes_are_told_of_a_purge_under_its_namespace():
    store, builder = Store(SETTINGS), Builder(SETTINGS)
    key = take(store)
    build = builder.build(store, NOW)
    (purge,) = told(build)
    assert (purge.tenant, list(purge.targets)) == ("shop", ["https://shop.example/*"])
    assert build.outcomes[key].resources == ((pb.PURGE, purge.name),)
    store.remove(key)
    assert told(builder.build(store, NOW)) == []


def test_one_that_is_created_again_under_its_name_is_another_purge():
    names = set()
    for uid in ("one", "two"):
        store = Store(SETTINGS)
        take(store, uid=uid)
        names.add(told(Builder(SETTINGS).build(store, NOW))[0].name)
    assert len(names) == 2


@pytest.mark.parametrize(
    "targets",
    [(), ("",), ("x",) * (TARGETS_MAX + 1), ("x" * (TARGET_LENGTH_MAX + 1),), ("x", 3)],
    ids=["none", "empty", "too many", "too long", "a number"],
)
def test_one_that_cannot_be_read_is_refused_whole(targets):
    store = Store(SETTINGS)
    key = take(store, targets=targets)
    build = Builder(SETTINGS).build(store, NOW)
    assert told(build) == []
    assert {item.code for item in build.outcomes[key].diagnostics} == {Code.ZS0301}


def test_the_newest_are_told_one_by_one_and_those_before_them_as_one_that_forgets_all():
    store, builder = Store(SETTINGS), Builder(SETTINGS)
    keys = [take(store, number, age_s=1000) for number in range(PURGES_MAX + 3)]
    take(store, namespace="blog")
    build = builder.build(store, NOW)
    of_shop = [purge for purge in told(build) if purge.tenant == "shop"]
    assert len(of_shop) == PURGES_MAX + 1
    assert [list(purge.targets) for purge in of_shop].count(["*"]) == 1
    assert all(build.outcomes[key].resources for key in keys)
    before = {purge.name for purge in of_shop}
    store.remove(keys[0])
    assert {purge.name for purge in told(builder.build(store, NOW)) if purge.tenant == "shop"} == before


def test_a_status_tells_how_many_nodes_have_done_it():
    outcome = ObjectOutcome((), (), 1, ((pb.PURGE, "shop/one"),))
    half = make_purge_status(outcome, NodeCount(1, 2), {}, "now")
    whole = make_purge_status(outcome, NodeCount(2, 2), {}, "now")
    assert [item["status"] for item in half["conditions"]] == ["True", "False"]
    assert [item["status"] for item in whole["conditions"]] == ["True", "True"]
    assert whole["conditions"][1]["message"] == "done by 2 of 2 nodes"
    refused = make_purge_status(ObjectOutcome((), (), 1), NodeCount(2, 2), {}, "now")
    assert [item["status"] for item in refused["conditions"]] == ["False", "False"]


class Api:
    def __init__(self, status=0):
        self.deleted, self.status = [], status

    def request(self, method, path, body=None):
        self.deleted.append((method, path))
        if self.status:
            raise ClusterError(self.status, "no")
        return {}


def test_old_purges_are_deleted_and_young_ones_stay():
    store, api = Store(SETTINGS), Api()
    take(store, 1, age_s=PURGE_LIFE_S - 60)
    take(store, 2, age_s=PURGE_LIFE_S + 60)
    delete_old_purges(api, store.purges(), NOW)
    path = "/apis/zeroserve.dev/v1alpha1/namespaces/shop/zeroservecachepurges/purge-2"
    assert api.deleted == [("DELETE", path)]


@pytest.mark.parametrize(("status", "tried"), [(0, DELETIONS_MAX), (404, DELETIONS_MAX), (403, 1)])
def test_a_round_deletes_a_bounded_number_and_ends_where_it_may_not(status, tried):
    store, api = Store(SETTINGS), Api(status)
    for number in range(DELETIONS_MAX + 1):
        take(store, number, age_s=PURGE_LIFE_S + 1000)
    delete_old_purges(api, store.purges(), NOW)
    assert len(api.deleted) == tried


def test_nodes_forget_all_before_purges_may_be_gone_that_they_missed():
    assert AWAY_S + 120 < PURGE_LIFE_S
