"""What people see of a program: assembly, LLVM IR, machine code, a verdict, one run.

Called by `zeroserve compile --emit` and `zeroserve bpf`, in their own process: unlike `Compiler` nothing here
is confined, so it is for one's own programs. The rule: what is wrong with the input is a DiagnosticError.
"""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zeroserve_ir._pb import execution_pb2, resources_pb2
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, DiagnosticError
from zeroserve_ir.program import abi
from zeroserve_ir.program.assembly import AssemblyTextError, assemble
from zeroserve_ir.sources import Span

from zeroserve_dataplane.interpreter import Helpers, Interpreter, Memory, Outcome
from zeroserve_dataplane.jit.emitting import emit, emit_assembly
from zeroserve_dataplane.jit.targets import Target, Tier
from zeroserve_dataplane.jit.translating import translate
from zeroserve_dataplane.marking import mark_loads
from zeroserve_dataplane.verifier import Refused, Verified, diagnose, verify

Lines = Sequence[tuple[int, Span | str]]

_LENGTH = struct.Struct("<I")
_TIMEOUT_S = 60


class ExecutionError(Exception):
    """The engine could not be run, or could not use what it was given."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a program is run on."""

    constants: bytes = b""
    memory: bytes = b""
    """Placed at the context; r2 is its length."""
    fuel: int = abi.FUEL_DEFAULT


@dataclass(frozen=True, slots=True)
class Source:
    """A program as it was read, with the lines of its text by slot where it has one."""

    code: bytes
    lines: tuple[tuple[int, Span], ...] = ()
    constants: bytes = b""


def assemble_source(text: str, file: str) -> Source:
    """Return what an assembly file holds; raises DiagnosticError."""
    try:
        assembly = assemble(text)
    except AssemblyTextError as error:
        rows = text.split("\n")
        span = Span(file, error.line, 1, len(rows[error.line - 1]) + 1)
        raise DiagnosticError([Diagnostic(Code.ZS0001, error.message, span)]) from error
    if not assembly.code:
        raise DiagnosticError([Diagnostic(Code.ZS0001, "no instruction in it", Span(file, 1, 1, 2))])
    lines = tuple((slot, Span(file, line, 1, 2)) for slot, line in assembly.lines)
    return Source(assembly.code, lines, assembly.constants)


def verify_source(code: bytes, constants_bytes: int, lines: Lines = ()) -> Verified:
    """Return a verified program; raises DiagnosticError with all that is wrong."""
    verdict = verify(code, constants_bytes)
    if isinstance(verdict, Refused):
        raise DiagnosticError(diagnose(verdict.refusals, lines))
    return verdict


def print_llvm(program: Verified) -> str:
    """Return the LLVM IR that a program becomes, before LLVM's passes."""
    return translate(program)


def print_machine_code(program: Verified, target: Target, tier: Tier) -> str:
    """Return the machine code that a program becomes, as assembly of the target."""
    return emit_assembly(translate(program), target, tier)


def run_on_reference(program: Verified, run: Run, helpers: Helpers) -> tuple[Outcome, Memory]:
    """Run a program on the reference interpreter; returns the memory too."""
    memory = Memory(run.constants)
    memory.write(abi.CONTEXT, run.memory)
    return Interpreter(program, memory, helpers, run.fuel).run(len(run.memory)), memory


def run_on_engine(
    engine: Path, program: Verified, run: Run, *, target: Target | None, tier: Tier = Tier.OPTIMISED
) -> execution_pb2.Outcome:
    """Run a program in the engine, interpreted where there is no target; raises ExecutionError."""
    code, entry, name = mark_loads(program), 0, "ebpf"
    if target is not None:
        made = emit(translate(program), target, tier)
        code, entry, name = made.text, made.entry, target.value
    image = resources_pb2.Image(
        abi=abi.ABI_VERSION,
        target=name,
        entry=entry,
        code_bytes=len(code),
        constants_bytes=program.constants_bytes,
        exposure=resources_pb2.Exposure.Value(program.exposure.name),
    )
    execution = execution_pb2.Execution(
        image=image, code=code, constants=run.constants, memory=run.memory, fuel=run.fuel
    )
    (outcome,) = execute([str(engine)], [execution])
    return outcome


def execute(
    engine: Sequence[str], executions: Sequence[execution_pb2.Execution]
) -> tuple[execution_pb2.Outcome, ...]:
    """Have `zeroserve-engine execute` run programs, one after the other; raises ExecutionError.

    `engine` is the command before `execute`: a path, behind an emulator where it is for another machine.
    """
    try:
        # Memory and no pipe, which takes 4 KiB at a time.
        with os.fdopen(os.memfd_create("executions"), "w+b") as given:
            for message in (execution.SerializeToString() for execution in executions):
                given.write(_LENGTH.pack(len(message)) + message)
            given.seek(0)
            done = subprocess.run(
                [*engine, "execute"], stdin=given, capture_output=True, check=False, timeout=_TIMEOUT_S
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ExecutionError(f"{engine[-1]} does not run: {error}") from error
    outcomes = tuple(_split_outcomes(done.stdout))
    if done.returncode != 0 or len(outcomes) != len(executions):
        raise ExecutionError(f"{engine[-1]} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    for outcome in outcomes:
        if outcome.error:
            raise ExecutionError(outcome.error)
    return outcomes


def _split_outcomes(content: bytes) -> list[execution_pb2.Outcome]:
    """Return the outcomes that are whole: an engine that died may have left one that is not."""
    outcomes: list[execution_pb2.Outcome] = []
    at = 0
    while at + _LENGTH.size <= len(content):
        (length,) = _LENGTH.unpack_from(content, at)
        at += _LENGTH.size + length
        if at <= len(content):
            outcomes.append(execution_pb2.Outcome.FromString(content[at - length : at]))
    return outcomes
