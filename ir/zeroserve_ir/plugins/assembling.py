"""Plugins as assembly text: `zeroserve_ir.program.assembly` with functions and data.

In: text. Out: `PluginModule`, or AssemblyTextError. `.function NAME` begins an exported function, which runs
to the next one; `.ascii NAME "text"` puts a JSON string's bytes at the heap's bottom, where `$NAME` is their
address and `$NAME.length` their number. Used for tests and for what is too small for a compiler.
"""

from __future__ import annotations

import json
import re
from typing import Final

from zeroserve_ir.plugins.modules import Hook, PluginFunction, PluginModule
from zeroserve_ir.program import abi
from zeroserve_ir.program.assembly import AssemblyTextError, assemble, refuse_byte_order_mark

_FUNCTION: Final = re.compile(r"\.function\s+([A-Za-z_]\w*)\s*\Z")
_TEXT: Final = re.compile(r'\.ascii\s+([A-Za-z_]\w*)\s+(".*")\s*\Z')
_NAME: Final = re.compile(r"\$([A-Za-z_]\w*)(\.length)?")
_UNKNOWN_ENTRY: Final = abi.encode_action(abi.Action.ERROR, detail=500)


def assemble_module(text: str) -> PluginModule:
    """Assemble a plugin; raises AssemblyTextError with the line at fault."""
    functions: list[str] = []
    places: dict[str, tuple[int, int]] = {}
    data = bytearray()
    lines: list[str] = []
    refuse_byte_order_mark(text)
    for number, line in enumerate(text.split("\n"), 1):
        written = line.strip()
        if found := _FUNCTION.match(written):
            functions.append(found[1])
            lines.append(f"function.{found[1]}:")
        elif found := _TEXT.match(written):
            places[found[1]] = (abi.HEAP + len(data), _append(data, found[2], number))
            lines.append("")
        elif written.startswith(".constants"):
            raise AssemblyTextError(number, "a plugin has no .constants: write .ascii NAME TEXT")
        else:
            lines.append(_place(line, places, number))
    if not functions:
        raise AssemblyTextError(1, "no .function NAME")
    dispatcher = _dispatch(functions)
    try:
        assembly = assemble("\n".join([*dispatcher, *lines]))
    except AssemblyTextError as error:
        raise AssemblyTextError(max(error.line - len(dispatcher), 1), error.message) from error
    exported = tuple(PluginFunction(name, entry, Hook.FUNCTION) for entry, name in enumerate(functions, 1))
    return PluginModule(exported, assembly.code, bytes(data), 0)


def _append(data: bytearray, written: str, number: int) -> int:
    try:
        content = str(json.loads(written)).encode("utf-8", "surrogatepass")
    except ValueError as error:
        raise AssemblyTextError(number, f"no JSON string: {error}") from error
    data += content
    return len(content)


def _place(line: str, places: dict[str, tuple[int, int]], number: int) -> str:
    def resolve(found: re.Match[str]) -> str:
        if found[1] not in places:
            raise AssemblyTextError(number, f"no .ascii {found[1]} before this line")
        address, length = places[found[1]]
        return str(length if found[2] else address)

    return _NAME.sub(resolve, line)


def _dispatch(functions: list[str]) -> list[str]:
    lines = []
    for entry, name in enumerate(functions, 1):
        lines += [f"jne %r2, {entry}, dispatch.{entry}", f"call local function.{name}", "exit"]
        lines.append(f"dispatch.{entry}:")
    return [*lines, f"lddw %r0, {_UNKNOWN_ENTRY}", "exit"]
