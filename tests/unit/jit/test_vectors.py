"""Every vector of tests/golden/program means the same to the reference interpreter and to native code."""

import importlib.util
from pathlib import Path

import pytest
from zeroserve_dataplane.interpreter import Interpreter, Memory
from zeroserve_dataplane.jit.emitting import emit
from zeroserve_dataplane.jit.targets import Target, Tier, find_host_target
from zeroserve_dataplane.jit.translating import translate
from zeroserve_dataplane.verifier import Exposure
from zeroserve_ir.program import abi

_SPEC = importlib.util.spec_from_file_location("vectors", Path(__file__).with_name("vectors.py"))
vectors = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(vectors)


@pytest.fixture(params=vectors.PATHS, ids=lambda path: path.stem)
def vector(request):
    return vectors.Vector(request.param)


def test_there_are_vectors():
    assert len(vectors.PATHS) >= 100


def test_reference_interpreter_gives_the_expected_result(vector, execution):
    outcome, _ = _interpret(vector, execution)
    assert (outcome.trap.name.lower() if outcome.trap else None) == vector.trap
    assert vector.trap or outcome.result == vector.result


@pytest.mark.parametrize("tier", list(Tier))
@pytest.mark.skipif(find_host_target() is None, reason="no native code for this machine")
def test_native_code_agrees_with_the_interpreter(vector, tier, native, execution):
    outcome, memory = _interpret(vector, execution)
    made = emit(translate(vector.verify()), find_host_target(), tier)
    got = native.run(
        made.text,
        made.entry,
        constants=vector.constants,
        memory=vector.memory,
        argument=len(vector.memory),
        fuel=vector.fuel,
    )
    assert got["trap"] == vector.trap
    if vector.trap is None:
        assert got["result"] == vector.result
        assert got["memory"] == execution.digest_memory(memory.read)
    if vector.trap != "memory":
        assert got["fuel"] == outcome.fuel


def test_only_the_translation_of_a_detached_program_never_names_the_vm_block():
    """The engine gives it none."""
    programs = [found.verify() for found in map(vectors.Vector, vectors.PATHS)]
    named = {
        exposure: {_names_block(one) for one in programs if one.exposure is exposure} for exposure in Exposure
    }
    assert named[Exposure.DETACHED] == {False}
    assert named[Exposure.FAULTLESS] == {True}


def _names_block(program):
    lines = translate(program).splitlines()
    return any("%vm" in line for line in lines if not line.startswith("define "))


@pytest.mark.parametrize("target", list(Target))
@pytest.mark.parametrize("tier", list(Tier))
def test_code_for_each_target_needs_no_linking(vector, target, tier):
    made = emit(translate(vector.verify()), target, tier)
    assert 0 <= made.entry < len(made.text)


def _interpret(vector, execution):
    memory = Memory(vector.constants)
    memory.write(abi.CONTEXT, vector.memory)
    interpreter = Interpreter(vector.verify(), memory, execution.MixingHelpers(), vector.fuel)
    return interpreter.run(len(vector.memory)), memory
