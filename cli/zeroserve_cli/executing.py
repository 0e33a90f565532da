"""`zeroserve bpf`: assemble, disassemble, verify or run one eBPF program, for outsiders to check us.

Programs are text in the syntax of the public conformance suite's `-- asm` sections, or bytes (`.bin`, `.o`
is not read); `-` is standard input, or standard output. `run` prints r0 in hex; a trap is an error.
There is no request and there are no tables: on all three executions a helper that routes may call gives -1,
and one of plugins alone traps.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from zeroserve_dataplane.interpreter import Memory, Trap, TrapError
from zeroserve_dataplane.jit.inspecting import (
    ExecutionError,
    Run,
    Source,
    assemble_source,
    run_on_engine,
    run_on_reference,
    verify_source,
)
from zeroserve_dataplane.jit.targets import find_host_target
from zeroserve_dataplane.verifier import Verified
from zeroserve_engine import find_binary
from zeroserve_ir.program import abi
from zeroserve_ir.program.disassembling import disassemble
from zeroserve_ir.program.encoding import encode
from zeroserve_ir.program.isa import R0, SLOT_BYTES, Binary, CallHelper, Operator

from zeroserve_cli.helping import add_action
from zeroserve_cli.main import EXIT_FAILED

BYTES_SUFFIX = ".bin"
STANDARD = Path("-")
"""Input or output."""
FUEL_MAX = 1 << 40
"""Hours: nobody waits for more."""


class Execution(Enum):
    """Where `bpf run` runs."""

    REFERENCE = "reference"
    ENGINE = "engine"
    NATIVE = "native"


class NoHelpers:
    """What is left of helpers are those of plugins: they trap."""

    def call(self, number: int, _arguments: tuple[int, ...], _memory: Memory) -> int:
        """Trap."""
        raise TrapError(Trap.HELPER, f"helper {number}: only plugins may call it")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the four actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    asm = add_action(actions, "asm", "assemble text to bytes", "zeroserve bpf asm p.asm -o p.bin")
    asm.add_argument("file", type=Path)
    asm.add_argument(
        "-o", "--output", type=Path, help="file for the bytes, - for standard output; default: hex"
    )
    dis = add_action(actions, "dis", "print bytes as assembly", "zeroserve bpf dis p.bin")
    dis.add_argument("file", type=Path)
    for name, summary in (
        ("verify", "judge a program"),
        ("run", "verify and run a program, print r0 in hex"),
    ):
        action = add_action(actions, name, summary, f"zeroserve bpf {name} p.asm")
        action.add_argument("file", type=Path)
        action.add_argument(
            "--constants",
            type=_hex(abi.CONSTANTS_BYTES_MAX),
            default=b"",
            help="constants, in hex, in the place of the file's own",
        )
        if name == "run":
            action.add_argument("--on", choices=[one.value for one in Execution], default="native")
            action.add_argument(
                "--mem",
                type=_hex(abi.CONTEXT_BYTES),
                default=b"",
                help="memory that r1 points to and r2 counts, in hex",
            )
            action.add_argument(
                "--fuel", type=_read_fuel, default=abi.FUEL_DEFAULT, help="instructions on back edges"
            )


def run(arguments: argparse.Namespace) -> int:
    """Do the action; what is wrong with the program is raised as diagnostics."""
    try:
        source = _read(arguments.file)
    except UnicodeDecodeError:
        print(f"zeroserve: {_explain(arguments.file)}", file=sys.stderr)
        return EXIT_FAILED
    if arguments.action == "asm":
        return _write(source.code, arguments.output)
    if arguments.action == "dis":
        return _disassemble(source.code, arguments.file)
    constants: bytes = arguments.constants or source.constants
    verified = verify_source(source.code, len(constants), source.lines)
    if arguments.action == "verify":
        print(f"sound: {len(verified.slots)} slots, {len(verified.subprograms)} subprograms")
        return 0
    verified = verify_source(_replace_route_calls(verified), len(constants), source.lines)
    given = Run(constants, arguments.mem, arguments.fuel)
    return _execute(verified, given, Execution(arguments.on))


def _explain(file: Path) -> str:
    if file == STANDARD:
        return "standard input is neither text nor a program's bytes"
    return f"{file} is no text: bytes need a name in {BYTES_SUFFIX}"


def _hex(bytes_max: int) -> Callable[[str], bytes]:
    """Return a reader of so many bytes in hex."""

    def read(text: str) -> bytes:
        try:
            content = bytes.fromhex(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(
                f"{text[:20]!r} is no hex: write two digits a byte, as in 00ff"
            ) from error
        if len(content) > bytes_max:
            raise argparse.ArgumentTypeError(f"{len(content)} bytes, at most {bytes_max}")
        return content

    return read


def _read_fuel(text: str) -> int:
    if not text.isdecimal() or len(text) > len(str(FUEL_MAX)) or not 0 < int(text) <= FUEL_MAX:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} must be a number from 1 to {FUEL_MAX}")
    return int(text)


def _replace_route_calls(program: Verified) -> bytes:
    """Return the code with `r0 = -1` in place of each call of a helper that needs no plugin."""
    code = bytearray(program.code)
    nothing = encode(Binary(Operator.MOV, 64, R0, -1))
    for slot, instruction in enumerate(program.slots):
        if (
            isinstance(instruction, CallHelper)
            and abi.BY_NUMBER[instruction.number].use is not abi.Use.PLUGIN
        ):
            code[slot * len(nothing) : (slot + 1) * len(nothing)] = nothing
    return bytes(code)


def _read(path: Path) -> Source:
    if path.suffix == BYTES_SUFFIX:
        return Source(path.read_bytes())
    if path != STANDARD:
        return assemble_source(path.read_text(), str(path))
    content = sys.stdin.buffer.read()
    # No text has a zero byte, and every program has: `exit` has seven.
    return Source(content) if b"\0" in content else assemble_source(content.decode(), str(path))


def _write(code: bytes, output: Path | None) -> int:
    if output is None:
        print(code.hex())
    elif output == STANDARD:
        sys.stdout.buffer.write(code)
    else:
        output.write_bytes(code)
    return 0


def _disassemble(code: bytes, file: Path) -> int:
    """Print the whole instructions; what is left over is an error."""
    print(disassemble(code), end="", flush=True)
    rest = len(code) % SLOT_BYTES
    if code and not rest:
        return 0
    found = (
        f"{rest} bytes at offset {len(code) - rest} are no whole instruction" if code else "no instruction"
    )
    print(f"zeroserve: {file}: {found}: each takes {SLOT_BYTES} bytes", file=sys.stderr)
    return EXIT_FAILED


def _execute(program: Verified, given: Run, execution: Execution) -> int:
    if execution is Execution.REFERENCE:
        outcome, _ = run_on_reference(program, given, NoHelpers())
        trap, result = outcome.found if outcome.trap else "", outcome.result
    else:
        target = find_host_target() if execution is Execution.NATIVE else None
        try:
            ended = run_on_engine(find_binary(), program, given, target=target)
        except ExecutionError as error:
            print(f"zeroserve: {error}", file=sys.stderr)
            return EXIT_FAILED
        trap, result = ended.trap if ended.trapped else "", ended.result
    if trap:
        print(f"trapped: {trap}", file=sys.stderr)
        return EXIT_FAILED
    print(f"{result & (1 << 64) - 1:x}")
    return 0
