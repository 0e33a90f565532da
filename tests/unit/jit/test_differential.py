"""Native code does what the reference interpreter does, on programs that nobody wrote.

ZEROSERVE_DIFFERENTIAL_PROGRAMS=10000 is the nightly run; ZEROSERVE_DIFFERENTIAL_SEED repeats a failure.
"""

import importlib.util
import os
from pathlib import Path
from random import Random

import pytest
from zeroserve_dataplane.interpreter import Interpreter, Memory, Trap
from zeroserve_dataplane.jit import writing
from zeroserve_dataplane.jit.emitting import emit
from zeroserve_dataplane.jit.targets import Target, Tier, find_host_target
from zeroserve_dataplane.jit.translating import translate
from zeroserve_dataplane.verifier import Verified, verify
from zeroserve_ir.program import abi
from zeroserve_ir.program.disassembling import disassemble
from zeroserve_ir.program.isa import Operator

_SPEC = importlib.util.spec_from_file_location(
    "program_generation", Path(__file__).with_name("program_generation.py")
)
program_generation = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(program_generation)

PROGRAMS = int(os.environ.get("ZEROSERVE_DIFFERENTIAL_PROGRAMS", "200"))
SEED = int(os.environ.get("ZEROSERVE_DIFFERENTIAL_SEED", "0"))
BATCHES = 8
pytestmark = pytest.mark.skipif(find_host_target() is None, reason="no native code for this machine")


def find_differences(seed, native, execution):
    """Run one program on all executions; returns what differs, and the trap it ended in."""
    made = program_generation.generate(Random(seed))
    program = verify(made.code, len(made.constants))
    assert isinstance(program, Verified), (seed, program, disassemble(made.code))
    memory = Memory(made.constants)
    memory.write(abi.CONTEXT, made.memory)
    interpreter = Interpreter(program, memory, execution.MixingHelpers(), made.fuel)
    want = interpreter.run(len(made.memory))
    differences = []
    for tier in Tier:
        code = emit(translate(program), find_host_target(), tier)
        got = native.run(
            code.text,
            code.entry,
            constants=made.constants,
            memory=made.memory,
            argument=len(made.memory),
            fuel=made.fuel,
        )
        trap = want.trap.name.lower() if want.trap else None
        agree = got["trap"] == trap
        if want.trap is not Trap.MEMORY:
            agree = agree and (got["fuel"], got["result"]) == (want.fuel, want.result)
            agree = agree and got["memory"] == execution.digest_memory(memory.read)
        if not agree:
            differences.append((tier, got, want))
    return differences, want.trap


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("batch", range(BATCHES))
def test_native_code_agrees_with_the_interpreter(batch, native, execution):
    for seed in range(SEED + batch, SEED + PROGRAMS, BATCHES):
        differences, _ = find_differences(seed, native, execution)
        assert not differences, f"ZEROSERVE_DIFFERENTIAL_SEED={seed}: {differences}"


def test_programs_end_in_every_way(native, execution):
    traps = {find_differences(seed, native, execution)[1] for seed in range(200)}
    assert {None, Trap.FUEL, Trap.MEMORY} <= traps


def test_code_for_the_other_target_needs_no_linking():
    for seed in range(SEED, SEED + 40):
        made = program_generation.generate(Random(seed))
        program = verify(made.code, len(made.constants))
        for tier in Tier:
            emit(translate(program), Target.AARCH64, tier)


def test_canary_a_wrong_translation_is_noticed(native, execution, monkeypatch):
    monkeypatch.setitem(writing._NAMES, Operator.XOR, "or")
    assert any(find_differences(seed, native, execution)[0] for seed in range(10))
