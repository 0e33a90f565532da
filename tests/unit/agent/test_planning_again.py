"""A host that was without a fault is judged anew wherever what it needs is another or gone."""

from zeroserve_dataplane.agent.planning import Planner
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.drafting import make_resource

PROGRAM = pb.Program(name="program", code=b"\x95" + b"\0" * 7, constants_bytes=8)
TABLES = pb.Tables(name="tables", proxies=[pb.ProxyCall(cluster="near")])
NEAR, FAR = pb.Cluster(name="near"), pb.Cluster(name="far")
HOST = pb.VirtualHost(
    name="shop", hosts=["shop.test"], program="program", tables="tables", constants=b"c" * 8
)
ALL = (PROGRAM, TABLES, NEAR, HOST)


def resources(*messages):
    return {(one.type, one.name): one for one in map(make_resource, messages)}


def is_served_as_wanted(plan):
    return not plan.refusals


def planned_before():
    planner = Planner()
    assert is_served_as_wanted(planner.plan(resources(*ALL), {}, {}))
    return planner


def test_the_same_resources_are_served_again():
    assert is_served_as_wanted(planned_before().plan(resources(*ALL), {}, {}))


def test_a_cluster_that_went_is_missed():
    plan = planned_before().plan(resources(PROGRAM, TABLES, HOST), {}, {})
    assert "missing cluster near" in plan.refusals[0].diagnostic.message


def test_tables_of_the_same_name_that_need_another_cluster_are_followed():
    other = pb.Tables(name="tables", proxies=[pb.ProxyCall(cluster="far")])
    plan = planned_before().plan(resources(PROGRAM, other, NEAR, HOST), {}, {})
    assert "missing cluster far" in plan.refusals[0].diagnostic.message
    assert is_served_as_wanted(planned_before().plan(resources(PROGRAM, other, NEAR, FAR, HOST), {}, {}))


def test_a_program_of_the_same_name_that_reads_more_constants_is_noticed():
    greedy = pb.Program(name="program", code=PROGRAM.code, constants_bytes=16)
    plan = planned_before().plan(resources(greedy, TABLES, NEAR, HOST), {}, {})
    assert "its program reads 16" in plan.refusals[0].diagnostic.message


def test_a_program_that_was_refused_since_is_noticed():
    why = Diagnostic(Code.ZS0601, "bad")
    plan = planned_before().plan(resources(*ALL), {}, {(pb.PROGRAM, "program"): why})
    assert any("shop" in one.diagnostic.message for one in plan.refusals)


def test_hosts_that_refer_to_the_same_are_refused_each():
    others = [pb.VirtualHost(name=name, program="program", constants=b"c" * 8) for name in ("a", "b")]
    plan = Planner().plan(resources(*others), {}, {})
    assert [one.key[1] for one in plan.refusals] == ["a", "b"]


def test_a_host_with_fewer_constants_than_its_neighbour_of_the_same_program_is_refused():
    short = pb.VirtualHost(name="short", program="program", tables="tables", constants=b"c" * 4)
    plan = Planner().plan(resources(*ALL, short), {}, {})
    assert [one.key[1] for one in plan.refusals] == ["short"]


def test_a_refused_host_is_refused_beside_a_sound_one_that_refers_to_the_same():
    twin = pb.VirtualHost(name="twin", program="program", tables="tables", constants=b"c" * 8)
    why = Diagnostic(Code.ZS0702, "bad")
    plan = Planner().plan(resources(*ALL, twin), {}, {(pb.VIRTUAL_HOST, "twin"): why})
    assert [one.key[1] for one in plan.refusals] == ["twin"]
