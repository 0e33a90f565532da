"""The engine means what the reference interpreter says, interpreting and by native code of each machine.

The vectors of tests/golden/program and random programs, by `zeroserve-engine execute`; arm64 by a cross-built
engine under qemu-user (`make .make/engine-arm64`, ZEROSERVE_ENGINE_ARM64), so that its cage and its recovery
from faults run too. ZEROSERVE_DIFFERENTIAL_PROGRAMS and ZEROSERVE_DIFFERENTIAL_SEED as in test_differential.
"""

import dataclasses
import importlib.util
import os
import shutil
from pathlib import Path
from random import Random

import pytest
from zeroserve_dataplane.interpreter import Memory, Trap
from zeroserve_dataplane.jit import writing
from zeroserve_dataplane.jit.emitting import emit
from zeroserve_dataplane.jit.inspecting import execute
from zeroserve_dataplane.jit.targets import Target, Tier, find_host_target
from zeroserve_dataplane.jit.translating import translate
from zeroserve_dataplane.marking import mark_loads
from zeroserve_dataplane.verifier import Verified, verify
from zeroserve_engine import find_binary
from zeroserve_ir._pb import execution_pb2, resources_pb2
from zeroserve_ir.program import abi
from zeroserve_ir.program.assembly import assemble
from zeroserve_ir.program.disassembling import disassemble
from zeroserve_ir.program.isa import Operator


def _load(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


engine_helpers, program_generation, vectors = map(_load, ("engine_helpers", "program_generation", "vectors"))
PROGRAMS = int(os.environ.get("ZEROSERVE_DIFFERENTIAL_PROGRAMS", "200"))
SEED = int(os.environ.get("ZEROSERVE_DIFFERENTIAL_SEED", "0"))
ENGINE = Path(__file__).parents[3] / "dataplane" / "engine"
ARM64_ENGINE = Path(
    os.environ.get("ZEROSERVE_ENGINE_ARM64")
    or ENGINE / "target" / "aarch64-unknown-linux-gnu" / "debug" / "zeroserve-engine"
)
ARM64_LIBRARIES = "/usr/aarch64-linux-gnu"
# An engine on x86-64 and one on arm64, each interpreting and running native code of both tiers.
MACHINES = [target for target in Target if target in {find_host_target(), Target.AARCH64}]
TIERS = [None, *Tier]

# Writes the field x-team: blue, reads it into three bytes of the context: r0 is its whole length.
HEADER_PROGRAM = """
mov %r6, %r1
lddw %r1, constants
mov %r2, 6
lddw %r3, constants+6
mov %r4, 4
call write_request_header
lddw %r1, constants
mov %r2, 6
mov %r3, %r6
mov %r4, 3
call read_request_header
exit
"""


@dataclasses.dataclass(frozen=True)
class Case:
    """A program, what it runs on, and what the reference interpreter makes of it."""

    name: str
    program: Verified
    constants: bytes
    memory: bytes
    fuel: int

    def interpret(self):
        memory = Memory(self.constants)
        memory.write(abi.CONTEXT, self.memory)
        outcome = engine_helpers.EngineHelpers().run(self.program, memory, self.fuel, len(self.memory))
        return outcome, memory.read(abi.CONTEXT, len(self.memory))

    def encode(self, target, tier):
        code, entry, name = mark_loads(self.program), 0, "ebpf"
        if tier is not None:
            made = emit(translate(self.program), target, tier)
            code, entry, name = made.text, made.entry, target.value
        image = resources_pb2.Image(
            abi=abi.ABI_VERSION,
            target=name,
            entry=entry,
            constants_bytes=len(self.constants),
            exposure=self.program.exposure.name,
        )
        return execution_pb2.Execution(
            image=image, code=code, constants=self.constants, memory=self.memory, fuel=self.fuel
        )


def read_vectors():
    return [
        Case(found.name, found.verify(), found.constants, found.memory, found.fuel)
        for found in map(vectors.Vector, vectors.PATHS)
    ]


def generate_cases(count):
    """Random programs whose memory is the whole context, so that all that they write there is compared."""
    for seed in range(SEED, SEED + count):
        made = program_generation.generate(Random(seed), helpers=engine_helpers.HELPERS)
        constants = engine_helpers.spell(made.constants)
        program = verify(made.code, len(constants))
        assert isinstance(program, Verified), (seed, program, disassemble(made.code))
        memory = made.memory.ljust(abi.CONTEXT_BYTES, b"\0")
        yield Case(f"ZEROSERVE_DIFFERENTIAL_SEED={seed}", program, constants, memory, max(made.fuel, 1))


def find_command(target):
    """The command of the engine for a machine."""
    if target is find_host_target():
        return [str(find_binary())]
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    assert qemu, "install qemu-user-static (tools/install-debian-packages)"
    assert ARM64_ENGINE.exists(), "make .make/engine-arm64 builds the engine for arm64"
    return [qemu, "-L", ARM64_LIBRARIES, str(ARM64_ENGINE)]


def find_differences(cases, target, tier):
    """Name of a case to (got, want) where they differ."""
    differences = {}
    outcomes = execute(find_command(target), [case.encode(target, tier) for case in cases])
    for case, got in zip(cases, outcomes, strict=True):
        want, memory = case.interpret()
        trap = got.trap.split()[0] if got.trapped else None
        agree = trap == (want.trap.name.lower() if want.trap else None)
        if want.trap is None:
            result = got.result & (1 << 64) - 1
            agree = agree and (result, got.fuel_left) == (want.result, want.fuel) and got.memory == memory
        if not agree:
            differences[case.name] = (got.trap, got.result, got.fuel_left, want)
    return differences


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("target", MACHINES)
def test_engine_agrees_on_every_vector(target, tier):
    assert not find_differences(read_vectors(), target, tier)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("target", MACHINES)
def test_engine_agrees_on_random_programs(target, tier):
    assert not find_differences(list(generate_cases(PROGRAMS)), target, tier)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("target", MACHINES)
def test_a_program_reads_the_field_that_it_wrote(target, tier):
    constants = b"x-teamblue"
    program = verify(assemble(HEADER_PROGRAM).code, len(constants))
    case = Case("header", program, constants, bytes(8), abi.FUEL_DEFAULT)
    (outcome, memory) = case.interpret()
    assert (outcome.result, memory) == (4, b"blu\0\0\0\0\0")
    assert not find_differences([case], target, tier)


def test_random_programs_end_in_every_way():
    assert {case.interpret()[0].trap for case in generate_cases(200)} == {None, *Trap}


def test_canary_a_wrong_translation_is_noticed(monkeypatch):
    monkeypatch.setitem(writing._NAMES, Operator.XOR, "or")
    assert find_differences(list(generate_cases(10)), find_host_target(), Tier.OPTIMISED)
