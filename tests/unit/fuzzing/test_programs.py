"""Ten thousand programs that nobody wrote mean the same on every execution.

Random ones and real ones with changed bytes, on the reference interpreter, the engine's interpreter and
native code of both tiers. `make fuzz` goes on for a million; ZEROSERVE_FUZZED_PROGRAMS is how many are tried
here.
"""

import multiprocessing
import os

import pytest
from fuzzing import differential
from fuzzing.__main__ import notices_wrong_translation
from fuzzing.cases import Case, interpret, run_interpreted, run_native
from zeroserve_dataplane.jit.targets import Tier, find_host_target
from zeroserve_dataplane.verifier import Verified, verify
from zeroserve_ir.program import abi
from zeroserve_ir.program.assembly import assemble

PROGRAMS = int(os.environ.get("ZEROSERVE_FUZZED_PROGRAMS", "10000"))
pytestmark = pytest.mark.skipif(find_host_target() is None, reason="no native code for this machine")


@pytest.fixture(scope="module")
def report():
    whole = differential.Report()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for batch in pool.imap_unordered(differential.run_batch, range(0, PROGRAMS, differential.BATCH)):
            whole.add(batch)
    return whole


@pytest.mark.timeout(900)
def test_executions_agree(report):
    assert not report.differences
    assert report.compared + report.refused >= PROGRAMS


def test_programs_end_in_every_way(report):
    assert set(report.endings) == {"END", "FUEL", "MEMORY", "HELPER"}
    assert all(count >= PROGRAMS // 200 for count in report.endings.values())


def test_changed_programs_are_run_and_refused(report):
    changed = PROGRAMS // differential.MUTATED_EVERY
    assert changed // 20 < report.refused < changed * 19 // 20


def test_canary_a_wrong_translation_is_noticed():
    assert notices_wrong_translation()


@pytest.mark.parametrize(
    ("operation", "operand"),
    [("and", -1), ("or", 0), ("xor", 0), ("add", 0), ("and_fetch", -1), ("xchg_fetch", 0)],
)
def test_an_atomic_operation_that_changes_nothing_needs_its_place_all_the_same(operation, operand):
    """LLVM knows that it changes nothing, and must not drop the touch that traps."""
    name, _, fetch = operation.partition("_")
    lock = f"lock {fetch} {name} [%r3+8], %r5".replace("  ", " ")
    code = assemble(f"ldxdw %r3, [%r1]\nmov %r5, {operand}\n{lock}\nmov %r0, 0\nexit").code
    program = verify(code, 0)
    assert isinstance(program, Verified), program
    case = Case("idle", program, b"", b"\xff" * 8 + bytes(abi.CONTEXT_BYTES - 8), 100)
    assert interpret(case).outcome.trap.name == "MEMORY"
    runs = [run_interpreted([case]), *(run_native([case], tier) for tier in Tier)]
    assert [one.trap.split()[0] for (one,) in runs] == ["memory"] * 3
