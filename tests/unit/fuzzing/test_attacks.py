"""A thousand attacks of a grammar harm nothing: refused, or at an end within budget, and none the wiser."""

import multiprocessing
from collections import Counter

import pytest
from fuzzing.__main__ import ATTACKS_BATCH, judge_batch
from fuzzing.attacks import ATTACKS, Attack, encode, generate_attack
from fuzzing.cases import Case, find_differences, interpret, run_native
from fuzzing.judging import judge_attacks
from zeroserve_dataplane.jit import writing
from zeroserve_dataplane.jit.targets import Tier, find_host_target
from zeroserve_dataplane.verifier import Verified, verify
from zeroserve_ir.program import abi
from zeroserve_ir.program.assembly import assemble

COUNT = 1000
pytestmark = pytest.mark.skipif(find_host_target() is None, reason="no native code for this machine")


@pytest.fixture(scope="module")
def verdicts():
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        return pool.map(judge_batch, range(0, COUNT, ATTACKS_BATCH))


def test_no_attack_harms(verdicts):
    assert {name: harm for one in verdicts for name, harm in one.harms.items()} == {}


def test_every_kind_is_tried_and_some_of_most_kinds_get_past_the_verifier(verdicts):
    counts = {kind: [one.endings.get(kind, Counter()) for one in verdicts] for kind in ATTACKS}
    endings = {kind: sum(counted, Counter()) for kind, counted in counts.items()}
    assert all(counted.total() == COUNT // len(ATTACKS) for counted in endings.values())
    assert sum(counted["refused"] < counted.total() for counted in endings.values()) >= 8
    assert set(sum(endings.values(), Counter())) == {"refused", "fuel", "memory", "helper", "ended"}


def test_equal_seeds_give_equal_attacks():
    assert all(generate_attack(seed) == generate_attack(seed) for seed in range(50))


def test_canary_an_address_that_a_program_learns_is_noticed(monkeypatch):
    """Native code that gives the window away is found out, by the reference and between two processes."""
    source = assemble("ldxdw %r3, [%r1]\nmov %r0, %r3\nexit").code
    program = verify(source, 0)
    assert isinstance(program, Verified)
    case = Case("leak", program, b"", bytes(abi.CONTEXT_BYTES), 100)
    assert not find_differences([case], run_native([case], Tier.OPTIMISED), [interpret(case)])
    add = writing.Writer.add

    def leak(writer, line):
        if line.startswith("ret i64") and line != "ret i64 -1":
            add(writer, "%leak = ptrtoint ptr %window to i64")
            line = "ret i64 %leak"
        add(writer, line)

    monkeypatch.setattr(writing.Writer, "add", leak)
    assert find_differences([case], run_native([case], Tier.OPTIMISED), [interpret(case)])
    verdicts = judge_attacks([0], carry=lambda _: Attack("leak", source, b""))
    assert "seed 0 in two processes" in verdicts.harms


def test_slots_are_encoded_as_the_assembler_does():
    assert encode(0xB7, 1, immediate=-1) + encode(0x95) == assemble("mov %r1, -1\nexit").code
