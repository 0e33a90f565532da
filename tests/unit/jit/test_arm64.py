"""Native arm64 code, executed under qemu-user, means what the reference interpreter says."""

import importlib.util
import os
from pathlib import Path
from random import Random

import pytest
from zeroserve_dataplane.interpreter import Interpreter, Memory
from zeroserve_dataplane.jit.emitting import emit
from zeroserve_dataplane.jit.targets import Target, Tier
from zeroserve_dataplane.jit.translating import translate
from zeroserve_dataplane.verifier import Verified, verify
from zeroserve_ir.program import abi
from zeroserve_ir.program.assembly import assemble


def _load(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


arm64_execution, program_generation = _load("arm64_execution"), _load("program_generation")
VECTORS = sorted((Path(__file__).parents[2] / "golden" / "program").glob("*.bpf"))
PROGRAMS = int(os.environ.get("ZEROSERVE_DIFFERENTIAL_PROGRAMS", "40"))
pytestmark = pytest.mark.skipif(arm64_execution.QEMU is None, reason="qemu-aarch64 is not installed")


def check(code, tier, *, constants=b"", memory=b"", fuel=abi.FUEL_DEFAULT):
    program = verify(code, len(constants))
    assert isinstance(program, Verified), program
    expected = Memory(constants)
    expected.write(abi.CONTEXT, memory)
    helpers = arm64_execution.PlainHelpers()
    want = Interpreter(program, expected, helpers, fuel).run(len(memory))
    made = emit(translate(program), Target.AARCH64, tier)
    got = arm64_execution.run(
        made.text, made.entry, constants=constants, memory=memory, argument=len(memory), fuel=fuel
    )
    trap = want.trap.name.lower() if want.trap else None
    assert got["trap"] == trap
    if trap != "memory":
        assert (got["result"], got["fuel"]) == (want.result, want.fuel)
        assert got["read"](abi.CONTEXT, abi.CONTEXT_BYTES) == expected.read(abi.CONTEXT, abi.CONTEXT_BYTES)
        assert got["read"](abi.STACK, 4096) == expected.read(abi.STACK, 4096)
        assert got["read"](abi.HEAP, abi.HEAP_BYTES) == expected.read(abi.HEAP, abi.HEAP_BYTES)


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vector(path):
    sections, name = {}, None
    for line in path.read_text().splitlines():
        if line.startswith("-- "):
            name = line[3:]
        else:
            sections[name] = sections.get(name, "") + line + "\n"
    for tier in Tier:
        check(
            assemble(sections["asm"]).code,
            tier,
            constants=bytes.fromhex(sections.get("constants", "")),
            memory=bytes.fromhex(sections.get("memory", "")),
            fuel=int(sections.get("fuel", abi.FUEL_DEFAULT)),
        )


@pytest.mark.timeout(3600)
def test_random_programs():
    for seed in range(PROGRAMS):
        made = program_generation.generate(Random(seed))
        try:
            check(
                made.code,
                list(Tier)[seed % len(Tier)],
                constants=made.constants,
                memory=made.memory,
                fuel=made.fuel,
            )
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error
