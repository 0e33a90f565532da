"""What the planner remembers of versions is bounded by what is served, however many there were."""

from zeroserve_dataplane.agent.planning import REFERENCES_SPARE, Planner
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import make_resource


def snapshot(version):
    tables = pb.Tables(name="t", protocols=[str(version)])
    host = pb.VirtualHost(name="h", program="p", tables="t")
    program = pb.Program(name="p", code=version.to_bytes(8))
    resources = [make_resource(message) for message in (tables, host, program)]
    return {(int(one.type), one.name): one for one in resources}


def test_versions_that_are_gone_are_forgotten():
    planner, good = Planner(), {}
    for version in range(1, 3 * REFERENCES_SPARE):
        good = planner.plan(snapshot(version), good, {}).resources
    assert len(planner._references) <= REFERENCES_SPARE + 4 * len(good)
    assert len(planner._alike) <= len(planner._references)
    assert len(planner._closures) <= REFERENCES_SPARE + 4 * len(good)
    assert planner.plan(snapshot(1), good, {}).refusals == ()
