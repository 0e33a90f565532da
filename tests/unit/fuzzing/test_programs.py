"""Ten thousand programs that nobody wrote mean the same on every execution.

Random ones and real ones with changed bytes, on the reference interpreter, the engine's interpreter and
native code of both tiers. `make fuzz` goes on for a million; ZEROSERVE_FUZZED_PROGRAMS is how many are tried
here.
"""

import multiprocessing
import os

import pytest
from fuzzing import cases, differential
from fuzzing.__main__ import notices_wrong_translation
from fuzzing.cases import Case, interpret, run_interpreted, run_native
from fuzzing.claims import find_broken_claim
from zeroserve_dataplane.interpreter import Trap
from zeroserve_dataplane.jit import translating
from zeroserve_dataplane.jit.targets import Tier, find_host_target
from zeroserve_dataplane.marking import mark_loads
from zeroserve_dataplane.verifier import Exposure, Verified, analysing, states, stepping, verify
from zeroserve_dataplane.verifier.values import between
from zeroserve_ir.program import abi
from zeroserve_ir.program.assembly import assemble
from zeroserve_ir.program.encoding import encode
from zeroserve_ir.program.isa import R0, SLOT_BYTES, Binary, Exit, Operator

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


def test_an_index_with_a_leading_zero_is_no_index_to_any():
    """RFC 6901, section 4; the reference took `/a/b/01` of an array."""
    assert not differential.run_seeds(range(11_019_227, 11_019_228)).differences


def test_programs_end_in_every_way(report):
    assert set(report.endings) == {"END", "FUEL", "MEMORY", "HELPER"}
    assert all(count >= PROGRAMS // 200 for count in report.endings.values())


def test_changed_programs_are_run_and_refused(report):
    changed = PROGRAMS // differential.MUTATED_EVERY
    assert changed // 20 < report.refused < changed * 19 // 20


def test_canary_a_wrong_translation_is_noticed():
    assert notices_wrong_translation()


CLAIMS_SEEDS = 40_000
"""So many at most, of which each eighth is made, until one is noticed."""
CANARY = range(1_000_000_000, 1_000_000_128)
"""Seeds of the batch in which one program is made wrong."""


def find_program(tier, trap, *, pays=False):
    """Return a seed of the batch and its program: a plain one, ends so, spends fuel if it `pays`."""
    for seed in CANARY[differential.PLUGIN_EVERY :: differential.TANGLED_EVERY]:
        case = differential.generate_case(seed)
        if differential.find_tier(seed) is tier and case is not None:
            reference = interpret(case)
            paid = case.fuel - reference.outcome.fuel
            if reference.comparable and reference.outcome.trap is trap and (paid or not pays):
                return seed, case.program
    raise AssertionError("the canary's batch has no such program")


def make_wrong(program):
    """Return the program with another instruction before its first exit."""
    place = next(slot for slot, one in enumerate(program.slots) if isinstance(one, Exit)) * SLOT_BYTES
    other = encode(Binary(Operator.XOR, 64, R0, 1))
    wrong = verify(program.code[: place - SLOT_BYTES] + other + program.code[place:], program.constants_bytes)
    assert isinstance(wrong, Verified), wrong
    return wrong


@pytest.mark.parametrize("tier", Tier)
def test_canary_one_program_of_a_batch_that_is_translated_wrongly_is_named(monkeypatch, tier):
    seed, program = find_program(tier, None)
    translate = translating.translate
    monkeypatch.setattr(
        translating,
        "translate",
        lambda one: translate(make_wrong(one) if one.code == program.code else one),
    )
    assert list(differential.run_seeds(CANARY).differences) == [f"seed {seed} on {tier.value}"]


def test_canary_one_program_of_a_batch_that_is_interpreted_wrongly_is_named(monkeypatch):
    seed, program = find_program(Tier.FAST, None)
    monkeypatch.setattr(
        cases, "mark_loads", lambda one: mark_loads(make_wrong(one) if one.code == program.code else one)
    )
    assert list(differential.run_seeds(CANARY).differences) == [f"seed {seed} on interpreter"]


@pytest.mark.parametrize(("trap", "held"), [(Trap.MEMORY, Exposure.FAULTLESS), (None, Exposure.DETACHED)])
def test_canary_one_program_of_a_batch_that_ends_the_engine_is_named(monkeypatch, trap, held):
    """Nothing recovers what was proven to be faultless, and there is no block for what is detached."""
    seed, program = find_program(Tier.FAST, trap, pays=held is Exposure.DETACHED)
    monkeypatch.setattr(
        Verified, "exposure", property(lambda one: held if one.code == program.code else Exposure.CAGED)
    )
    (found,) = differential.run_seeds(CANARY).differences.items()
    assert found[0] == f"seed {seed} on fast"
    assert found[1][0].startswith(cases.DEATH)


def forget_nothing(_state):
    """What may have been overwritten is taken to be there still."""


def keep_left(left, _right):
    """Of two ways to a place the first is believed."""
    return left


def keep_stack(caller):
    """A pointer to the caller's frame is taken for one to the callee's."""
    state = states._frame_state()
    for register in states.ARGUMENTS:
        state.set(register, caller.get(register))
    return state


@pytest.mark.parametrize(
    ("module", "name", "wrong"),
    [
        (states, "join", keep_left),
        (analysing, "callee_state", keep_stack),
        (states.State, "forget_spills", forget_nothing),
        (stepping, "load_range", lambda size, *, signed: between(0, (1 << size * 8 - 1) - 1)),
    ],
)
def test_canary_a_verifier_that_believes_too_much_is_noticed(monkeypatch, module, name, wrong):
    monkeypatch.setattr(module, name, wrong)
    first = differential.TANGLED_AT
    made = map(differential.generate_case, range(first, CLAIMS_SEEDS, differential.TANGLED_EVERY))
    assert any(find_broken_claim(case) for case in made if case is not None)


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
