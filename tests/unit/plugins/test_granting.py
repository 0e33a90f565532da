"""What a plugin becomes in a snapshot, and what its code needs to be granted."""

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.plugins.granting import GrantedSecret, Grants, draft_plugin, find_needs, name_capabilities
from zeroserve_ir.plugins.loading import load
from zeroserve_ir.program import abi

TEXT = """
#include <zeroserve.h>
static u64 calls;
ZS_FUNCTION u64 quiet(struct zs_context *context) { return calls += context->status; }
ZS_REQUEST u64 marked(struct zs_context *context) {
  zs_write_request_header(ZS("x-mark"), ZS("1"));
  return zs_add_value(ZS("n"), context->status, 60);
}
"""


def test_the_code_tells_what_it_needs(compile_text):
    needs = find_needs(load(compile_text(TEXT)))
    assert needs == abi.Capability.REQUEST_WRITE | abi.Capability.KEY_VALUE
    assert name_capabilities(needs) == ("request_write", "key_value")


def test_resources_hold_the_module_and_the_grants(compile_text):
    module = load(compile_text(TEXT))
    grants = Grants(abi.Capability.KEY_VALUE, fuel=5000, fail_open=True, secrets=(GrantedSecret("k", b"v"),))
    program, plugin = draft_plugin("shop/mark", "shop", module, grants)
    code = pb.Program.FromString(program.payload)
    made = pb.Plugin.FromString(plugin.payload)
    assert (code.code, made.program) == (module.code, code.name)
    assert code.lines
    assert [(each.name, each.entry) for each in made.functions] == [("quiet", 1), ("marked", 2)]
    assert (made.name, made.namespace, made.fuel, made.fail_open) == ("shop/mark", "shop", 5000, True)
    assert made.capabilities == abi.Capability.KEY_VALUE
    assert made.heap_bytes == len(module.data) + module.bss_bytes
    assert made.secrets[0].value == b"v"


def test_a_secret_is_not_printed():
    assert "hunter2" not in repr(Grants(secrets=(GrantedSecret("k", b"hunter2"),)))
