"""A small change is judged by itself only where planning the whole would say the same."""

from hypothesis import given, settings
from hypothesis import strategies as st
from zeroserve_dataplane.agent.differing import PART_MAX, Difference, ServedWhole, find_difference
from zeroserve_dataplane.agent.planning import Planner
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import make_resource

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


def resources(messages):
    return {(int(one.type), one.name): one for one in map(make_resource, messages)}


@given(SNAPSHOTS, st.lists(SNAPSHOTS, max_size=4))
@settings(max_examples=400, deadline=None)
def test_what_is_taken_is_what_the_whole_plan_serves_without_a_refusal(first, later):
    served = resources(first)
    if Planner().plan(served, {}, {}).refusals:
        return
    whole = ServedWhole(Planner(), served)
    for wanted in map(resources, later):
        if whole.take(wanted, find_difference(wanted, served)):
            assert Planner().plan(wanted, served, {}) == Planner().plan(wanted, {}, {})
            assert not Planner().plan(wanted, served, {}).refusals
            served = wanted


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
    whole = ServedWhole(Planner(), resources(served))
    return whole.take(resources(wanted), find_difference(resources(wanted), resources(served)))


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
    served = resources((*PARTS, HOST))
    whole = ServedWhole(Planner(), served)
    key = (int(pb.PROGRAM), "p")
    assert whole.holds(served) and not whole.holds(dict(served))
    assert whole.take(served, Difference({key: served[key]}, ()))
    assert whole.holds(served)
    # What each needs is counted as before.
    assert not whole.take({}, Difference({}, (key,)))


def test_endpoints_and_clusters_change_by_themselves():
    changed = (*PARTS[:2], pb.Cluster(name="c", retries=3), pb.Endpoints(name="e"), HOST)
    assert take((*PARTS, HOST), changed)


def test_a_change_of_a_good_part_of_all_is_no_small_one():
    clusters = [pb.Cluster(name=str(number)) for number in range(4 * PART_MAX)]
    whole = ServedWhole(Planner(), resources(clusters))
    assert whole.compare(resources([*clusters, pb.Cluster(name="new")])) is not None
    assert whole.compare(resources(clusters[: 2 * PART_MAX])) is None
