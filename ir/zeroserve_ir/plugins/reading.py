"""Reads plugins in processes without rights: no files, network, token, children, or memory without end.

In: the bytes of an ELF file. Out: `PluginModule`, or PluginError. Called by operator and command line;
the child is this module as `python -m`. The rule: what a child says is checked as if the file said it, since
a file may have taken the child over; the program in it is verified on every node in any case.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO, Any, Final

from zeroserve_ir.confining import close_inherited_files, confine
from zeroserve_ir.plugins.faults import Fault, PluginError
from zeroserve_ir.plugins.linking import link
from zeroserve_ir.plugins.loading import load
from zeroserve_ir.plugins.modules import (
    FILE_NAME_LENGTH_MAX,
    FUNCTIONS_MAX,
    HEAP_BYTES_MAX,
    LINE_MAX,
    NAME_LENGTH_MAX,
    OBJECT_BYTES_MAX,
    Hook,
    PluginFunction,
    PluginModule,
    SourceLine,
)
from zeroserve_ir.plugins.objects import ObjectFile, Section, SectionKind, Symbol, SymbolKind
from zeroserve_ir.program import abi
from zeroserve_ir.program.isa import SLOT_BYTES

READING_S_MAX: Final = 20.0
"""Starting Python takes 0.2 s and the largest file 1 s; the rest is for busy machines."""
ANSWER_BYTES_MAX: Final = 8 << 20
"""A program of the largest size with a line for each of its instructions stays far below."""
MEMORY_BYTES_MAX: Final = 512 << 20
"""Address space: ten times what Python and the largest file take, half of what the operator's Pod has."""
PIECE_BYTES: Final = 64 << 10
"""As much as a pipe holds."""


def read_confined(content: bytes) -> PluginModule:
    """Load a plugin in a child process; raises PluginError, whatever the bytes are."""
    if len(content) > OBJECT_BYTES_MAX:
        raise PluginError(Fault.FILE_SIZE, f"{len(content)} bytes")
    return decode_answer(ask_child([sys.executable, "-m", "zeroserve_ir.plugins.reading"], content))


def ask_child(
    command: Sequence[str],
    content: bytes,
    *,
    answer_bytes_max: int = ANSWER_BYTES_MAX,
    timeout_s: float = READING_S_MAX,
) -> bytes:
    """Return what a command answers to its input.

    Raises PluginError where it fails, does not end, or says too much: then it is read no further.
    """
    deadline = time.monotonic() + timeout_s
    path = os.pathsep.join(entry for entry in sys.path if entry)
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": path, "PATH": os.defpath},
        start_new_session=True,
    )
    assert child.stdin is not None and child.stdout is not None
    feeder = threading.Thread(target=_feed, args=(child.stdin, content), name="plugin-feeder", daemon=True)
    feeder.start()
    try:
        answer = _read_to_end(child.stdout.fileno(), answer_bytes_max, deadline)
        code = child.wait(max(0.0, deadline - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired) as error:
        raise PluginError(Fault.LOADER_DIED, f"no end within {timeout_s:g} s") from error
    finally:
        child.kill()
        child.stdout.close()
        child.wait()
        # Its end of the pipe is gone.
        feeder.join()
    if code:
        raise PluginError(Fault.LOADER_DIED, f"exit code {code}")
    return answer


def _feed(pipe: IO[bytes], content: bytes) -> None:
    """Write all of it, unless the child ends before."""
    with contextlib.suppress(BrokenPipeError), pipe:
        pipe.write(content)


def _read_to_end(descriptor: int, bytes_max: int, deadline: float) -> bytes:
    """Read a pipe. TimeoutError where it goes on at the deadline; PluginError as soon as it says too much."""
    answer = bytearray()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while True:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError
        piece = os.read(descriptor, PIECE_BYTES)
        if not piece:
            return bytes(answer)
        answer += piece
        if len(answer) > bytes_max:
            raise PluginError(Fault.LOADER_DIED, f"more than {bytes_max} bytes said")


def encode_answer(answer: PluginModule | PluginError) -> bytes:
    """Return what a child writes."""
    if isinstance(answer, PluginError):
        return json.dumps({"fault": answer.fault.name, "found": answer.found}).encode()
    fields = {
        "functions": [[each.name, each.entry, each.hook.value] for each in answer.functions],
        "code": base64.b64encode(answer.code).decode(),
        "data": base64.b64encode(answer.data).decode(),
        "bss_bytes": answer.bss_bytes,
        "lines": [[each.slot, each.file, each.line] for each in answer.lines],
    }
    return json.dumps(fields).encode()


def decode_answer(content: bytes) -> PluginModule:
    """Read what a child wrote; raises PluginError, for the child's own error and for nonsense."""
    try:
        fields = json.loads(content)
        if "fault" in fields:
            raise PluginError(Fault[fields["fault"]], str(fields["found"])[:1000])
        module = _decode_module(fields)
    except (KeyError, TypeError, ValueError, binascii.Error, RecursionError) as error:
        raise PluginError(Fault.LOADER_DIED, f"nonsense: {error!r}"[:200]) from error
    slots, bytes_used = len(module.code) // SLOT_BYTES, len(module.data) + module.bss_bytes
    names = {each.name for each in module.functions}
    sound = (
        0 < len(module.functions) <= FUNCTIONS_MAX
        and len(names) == len(module.functions)
        and all(each.name.isidentifier() and len(each.name) <= NAME_LENGTH_MAX for each in module.functions)
        and [each.entry for each in module.functions] == list(range(1, len(module.functions) + 1))
        and slots <= abi.INSTRUCTIONS_MAX
        and module.bss_bytes >= 0
        and bytes_used <= HEAP_BYTES_MAX
        and _are_sound(module.lines, slots)
    )
    if not sound:
        raise PluginError(Fault.LOADER_DIED, "nonsense: sizes")
    return module


def _are_sound(lines: tuple[SourceLine, ...], slots: int) -> bool:
    numbers = [each.slot for each in lines]
    return numbers == sorted({*numbers} & {*range(slots)}) and all(
        0 < each.line <= LINE_MAX and len(each.file) <= FILE_NAME_LENGTH_MAX and each.file.isprintable()
        for each in lines
    )


def _decode_module(fields: dict[str, Any]) -> PluginModule:
    return PluginModule(
        functions=tuple(
            PluginFunction(str(name), int(entry), Hook(hook)) for name, entry, hook in fields["functions"]
        ),
        code=base64.b64decode(fields["code"], validate=True),
        data=base64.b64decode(fields["data"], validate=True),
        bss_bytes=int(fields["bss_bytes"]),
        lines=tuple(SourceLine(int(slot), str(file), int(line)) for slot, file, line in fields["lines"]),
    )


def _warm() -> None:
    """Load every module that reading may need: once confined, this process opens no file."""
    exit_code = bytes.fromhex("b7000000000000009500000000000000")
    function = Symbol("warm", SymbolKind.FUNCTION, 0, 0, len(exit_code), exported=True)
    section = Section(Hook.FUNCTION.value, SectionKind.CODE, 8, len(exit_code), exit_code)
    encode_answer(link(ObjectFile((section,), (function,), {})))
    for content in (b"", b"\x7fELF\x02\x01\x01" + bytes(57), b"\x7fELF\x01\x02" + b"\xff" * 200):
        try:
            load(content)
        except PluginError as error:
            encode_answer(error)


def main() -> None:
    """Read a file from standard input, write the answer to standard output."""
    output = os.fdopen(os.dup(1), "wb")
    # Whatever prints by mistake must not reach the answer.
    os.dup2(2, 1)
    _warm()
    confine(MEMORY_BYTES_MAX)
    content = sys.stdin.buffer.read(OBJECT_BYTES_MAX + 1)
    answer: PluginModule | PluginError
    try:
        answer = load(content)
    except PluginError as error:
        answer = error
    output.write(encode_answer(answer))
    output.flush()


if __name__ == "__main__":
    close_inherited_files()
    main()
