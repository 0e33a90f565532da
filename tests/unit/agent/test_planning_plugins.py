"""A plugin without its program is left out, with a refusal of its own; hosts that call it are served."""

from zeroserve_dataplane.agent.planning import Planner
from zeroserve_dataplane.agent.slots import PLUGIN_SLOTS, PluginSlots
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.drafting import make_resource

PROGRAM, OTHER = "1" * 64, "2" * 64
HOST_PROGRAM = "3" * 64
PLUGIN = (int(pb.PLUGIN), "p")
REFUSED = {(int(pb.PROGRAM), PROGRAM): Diagnostic(Code.ZS0601, "no")}


def collect(*messages):
    resources = [make_resource(message) for message in messages]
    return {(int(resource.type), resource.name): resource for resource in resources}


def make_wanted():
    tables = pb.Tables(name="t", plugin_calls=[pb.PluginCall(plugin="p", function="f")])
    return collect(
        pb.Plugin(name="p", program=PROGRAM),
        pb.Program(name=PROGRAM, code=b"x"),
        pb.Program(name=HOST_PROGRAM, code=b"y"),
        tables,
        pb.VirtualHost(name="h", program=HOST_PROGRAM, tables="t"),
    )


def test_a_plugin_with_its_program_is_served():
    plan = Planner().plan(make_wanted(), {}, {})
    assert PLUGIN in plan.resources
    assert plan.refusals == ()


def test_a_plugin_whose_program_is_refused_is_left_out_alone():
    plan = Planner().plan(make_wanted(), {}, REFUSED)
    assert PLUGIN not in plan.resources
    assert [refusal.key for refusal in plan.refusals] == [(int(pb.PROGRAM), PROGRAM), PLUGIN]
    host = pb.VirtualHost.FromString(plan.resources[int(pb.VIRTUAL_HOST), "h"].payload)
    assert not host.deny


def test_its_former_version_is_kept_with_its_program():
    good = collect(pb.Plugin(name="p", program=OTHER), pb.Program(name=OTHER, code=b"z"))
    plan = Planner().plan(make_wanted(), good, REFUSED)
    assert plan.resources[PLUGIN] == good[PLUGIN]
    assert (int(pb.PROGRAM), OTHER) in plan.resources


def test_slots_stay_and_are_given_again_when_there_is_no_other():
    slots = PluginSlots()
    served = frozenset(f"p{index}" for index in range(PLUGIN_SLOTS))

    def find(name, names=served):
        placed = slots.place(make_resource(pb.Plugin(name=name)), names)
        return pb.Plugin.FromString(placed.payload).slot

    assert [find(f"p{index}") for index in range(PLUGIN_SLOTS)] == list(range(1, PLUGIN_SLOTS + 1))
    assert find("p3") == 4
    assert find("late", served | {"late"}) == 0
    assert find("late", (served - {"p7"}) | {"late"}) == 8
