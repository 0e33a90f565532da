"""What looks like something else: numbers like pointers, frames that were overwritten.

Found by reading, since random programs hardly ever make them: all executions take them for what they are.
"""

import pytest
from fuzzing.cases import Case, find_differences, interpret, run_interpreted, run_native
from fuzzing.plugin_cases import EVERYTHING, Call, grant
from zeroserve_dataplane.jit.targets import Tier, find_host_target
from zeroserve_dataplane.marking import mark_loads
from zeroserve_dataplane.verifier import Verified, verify
from zeroserve_ir.program import abi
from zeroserve_ir.program.assembly import assemble
from zeroserve_ir.program.encoding import MalformedError, decode

pytestmark = pytest.mark.skipif(find_host_target() is None, reason="no native code for this machine")


def make_case(source, *, constants=b"", memory=b"", call=None):
    program = verify(assemble(source).code, len(constants))
    assert isinstance(program, Verified), program
    return Case("forged", program, constants, memory.ljust(abi.CONTEXT_BYTES, b"\0"), 1000, call)


def judge(case):
    """Return the reference's outcome, which all executions must share."""
    reference = interpret(case)
    assert reference.comparable
    for run in (run_interpreted([case]), *(run_native([case], tier) for tier in Tier)):
        assert not find_differences([case], run, [reference])
    return reference.outcome


LOAD = "ldxdw %r1, [%r1]\nldxb %r0, [%r1{}]\nexit"


@pytest.mark.parametrize(
    ("number", "offset"),
    [(abi.CONSTANTS, ""), (abi.CONSTANTS + 63, ""), (abi.CONSTANTS - 1, "+1"), (abi.CONSTANTS + 64, "-1")],
)
def test_a_number_is_no_pointer_to_the_constants(number, offset):
    case = make_case(LOAD.format(offset), constants=b"\x2a" * 64, memory=number.to_bytes(8, "little"))
    assert judge(case).trap.name == "MEMORY"


def test_a_number_whose_low_half_is_mapped_is_that_address():
    source = f"lddw %r1, {abi.CONSTANTS + abi.CONTEXT}\nldxb %r0, [%r1]\nexit"
    case = make_case(source, constants=b"\x2a" * (abi.CONTEXT + 8), memory=b"\x07")
    assert judge(case).result == 7


OVERWRITTEN = """
lddw %r3, {kept}
stxdw [%r10-8], %r3
lddw %r1, {heap}
mov %r2, 4
lddw %r3, {heap}
mov %r4, {room}
mov %r5, %r10
add %r5, -32
{call}
ldxdw %r1, [%r10-8]
ldxb %r0, [%r1]
exit
"""


def test_a_digest_overwrites_what_was_kept_in_the_frame():
    source = OVERWRITTEN.format(kept=abi.CONTEXT, heap=abi.HEAP, room=4, call="call hmac_sha256")
    case = make_case(source, memory=b"\x2a", call=Call(grant("x", EVERYTHING)))
    assert judge(case).trap.name == "MEMORY"


def test_every_argument_that_is_written_to_makes_the_verifier_forget_the_frame():
    """An exact address before the call is exact afterwards only where the helper writes nothing."""
    for helper in abi.HELPERS:
        code = assemble(
            "mov %r6, %r1\nlddw %r3, 0\nstxdw [%r10-8], %r3\n"
            + "".join(f"lddw %r{number}, {abi.HEAP}\n" for number in range(1, 6))
            + f"call {helper.name}\nldxdw %r1, [%r10-8]\nldxb %r0, [%r1]\nexit"
        ).code
        named = [argument.name for argument in helper.arguments]
        known = "UNMAPPED_ADDRESS" in {one.rule.name for one in getattr(verify(code, 0), "refusals", ())}
        assert known == (not {"WRITE", "DIGEST"} & set(named)), helper.name


def test_marked_loads_are_all_but_those_of_the_constants():
    source = (
        "ldxb %r0, [%r1]\nlddw %r3, constants\nldxb %r0, [%r3]\nldxb %r0, [%r10-1]\nstxb [%r10-2], %r0\nexit"
    )
    program = make_case(source, constants=b"\0" * 8).program
    marked = mark_loads(program)
    slots = range(0, len(marked), 8)
    changed = [at // 8 for at in slots if marked[at : at + 8] != program.code[at : at + 8]]
    assert changed == [0, 4]
    with pytest.raises(MalformedError):
        decode(marked)
