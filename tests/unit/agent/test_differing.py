"""A small change is judged by itself only where planning the whole would say the same."""

from hypothesis import given, settings
from hypothesis import strategies as st
from zeroserve_dataplane.agent.differing import (
    PART_MAX,
    Difference,
    ServedWhole,
    find_difference,
    follow_step,
)
from zeroserve_dataplane.agent.planning import Planner
from zeroserve_dataplane.subscribing import Change, Merger
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import SnapshotDraft, digest_snapshot, make_resource

NAMES = st.sampled_from(["a", "b", "c"])
PROGRAMS = st.builds(lambda name, size: pb.Program(name=name, constants_bytes=size), NAMES, st.integers(0, 2))
CLUSTERS = st.builds(lambda name, retries: pb.Cluster(name=name, retries=retries), NAMES, st.integers(0, 1))
TABLES = st.builds(
    lambda name, clusters: pb.Tables(name=name, proxies=[pb.ProxyCall(cluster=one) for one in clusters]),
    NAMES,
    st.lists(NAMES, max_size=2),
)
HOSTS = st.builds(
    lambda name, program, tables, size: pb.VirtualHost(
        name=name, program=program, tables=tables, constants=b"c" * size
    ),
    NAMES,
    NAMES,
    st.one_of(st.just(""), NAMES),
    st.integers(0, 2),
)
PLUGINS = st.builds(lambda name, program: pb.Plugin(name=name, program=program), NAMES, NAMES)
SNAPSHOTS = st.lists(st.one_of(PROGRAMS, CLUSTERS, TABLES, HOSTS, PLUGINS), max_size=14)


def draft(messages):
    return SnapshotDraft.of(map(make_resource, messages))


def resources(messages):
    return draft(messages).resources


@given(SNAPSHOTS, st.lists(SNAPSHOTS, max_size=4))
@settings(max_examples=400, deadline=None)
def test_what_is_taken_is_what_the_whole_plan_serves_without_a_refusal(first, later):
    served = draft(first)
    if Planner().plan(served.resources, {}, {}).refusals:
        return
    whole = ServedWhole(Planner(), served)
    for wanted in map(draft, later):
        if whole.take(wanted, find_difference(wanted.resources, served.resources)):
            plan = Planner().plan(wanted.resources, served.resources, {})
            assert plan == Planner().plan(wanted.resources, {}, {})
            assert not plan.refusals
            served = wanted


@given(SNAPSHOTS, SNAPSHOTS)
def test_a_step_says_what_a_comparison_finds(first, later):
    former, wanted = draft(first), draft(later)
    gone = frozenset(former.resources.keys() - wanted.resources.keys())
    merged = Merger(former).merge(Change(1, wanted.version, wanted.resources, gone))
    difference = find_difference(wanted.resources, former.resources)
    followed = follow_step(merged.step, merged.resources, former.resources)
    assert (followed.put, set(followed.removed)) == (difference.put, set(difference.removed))


def test_a_step_from_another_snapshot_is_not_followed():
    served = draft([pb.Cluster(name=str(number)) for number in range(2 * PART_MAX)])
    merger = Merger(served)
    for number, name in enumerate("cd"):
        new = make_resource(pb.Cluster(name=name))
        change = {(int(pb.CLUSTER), name): new}
        version = digest_snapshot({**merger.draft.resources, **change})
        merger.merge(Change(number, version, change, frozenset()))
    # The draft between was never served.
    change = ServedWhole(Planner(), served).compare(merger.draft)
    assert {name for _, name in change.put} == {"c", "d"}


def test_a_difference_is_what_is_new_changed_or_gone():
    served = resources([pb.Cluster(name="a"), pb.Cluster(name="b"), pb.Cluster(name="c")])
    wanted = resources([pb.Cluster(name="a"), pb.Cluster(name="b", retries=1), pb.Cluster(name="d")])
    difference = find_difference(wanted, served)
    assert {name for _, name in difference.put} == {"b", "d"}
    assert difference.removed == ((int(pb.CLUSTER), "c"),)
    assert find_difference(served, dict(served)).put == {}


HOST = pb.VirtualHost(name="shop", program="p", tables="t")
PARTS = (pb.Program(name="p"), pb.Tables(name="t", proxies=[pb.ProxyCall(cluster="c")]), pb.Cluster(name="c"))


def take(served, wanted):
    former, later = draft(served), draft(wanted)
    change = find_difference(later.resources, former.resources)
    return ServedWhole(Planner(), former).take(later, change)


def test_a_host_that_finds_all_it_needs_is_taken():
    assert take(PARTS, (*PARTS, HOST))
    assert take((), (*PARTS, HOST))


def test_a_host_that_goes_with_what_only_it_needed_is_taken():
    assert take((*PARTS, HOST), ())
    assert take((*PARTS, HOST), PARTS)


def test_what_another_host_needs_does_not_go_unnoticed():
    other = pb.VirtualHost(name="blog", program="p", tables="t")
    assert not take((*PARTS, HOST, other), (*PARTS[:2], other))
    assert not take((*PARTS, HOST), (*PARTS[1:], HOST))


def test_another_program_or_tables_of_the_same_name_are_judged_as_a_whole():
    greedy = pb.Program(name="p", constants_bytes=9)
    assert not take((*PARTS, HOST), (greedy, *PARTS[1:], HOST))


def test_a_program_whose_image_became_better_is_no_other_program():
    served = draft((*PARTS, HOST))
    whole = ServedWhole(Planner(), served)
    key = (int(pb.PROGRAM), "p")
    assert whole.holds(served.resources) and not whole.holds(dict(served.resources))
    assert whole.take(served, Difference({key: served.resources[key]}, ()))
    assert whole.holds(served.resources)
    # What each needs is counted as before.
    assert not whole.take(draft(()), Difference({}, (key,)))


def test_endpoints_and_clusters_change_by_themselves():
    changed = (*PARTS[:2], pb.Cluster(name="c", retries=3), pb.Endpoints(name="e"), HOST)
    assert take((*PARTS, HOST), changed)


def test_a_change_of_a_good_part_of_all_is_no_small_one():
    clusters = [pb.Cluster(name=str(number)) for number in range(4 * PART_MAX)]
    whole = ServedWhole(Planner(), draft(clusters))
    assert whole.compare(draft([*clusters, pb.Cluster(name="new")])) is not None
    assert whole.compare(draft(clusters[: 2 * PART_MAX])) is None
