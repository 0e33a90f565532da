"""Links a plugin's object file into one program: functions one after the other, a dispatcher in front.

In: `ObjectFile`. Out: `PluginModule`, or PluginError. The rule: nothing is taken along that no exported
function reaches, and no address leaves its section. Relocations: Linux, Documentation/bpf/llvm_reloc.rst.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

from zeroserve_ir.plugins.faults import Fault, PluginError
from zeroserve_ir.plugins.line_info import read_places
from zeroserve_ir.plugins.modules import (
    FUNCTIONS_MAX,
    HEAP_BYTES_MAX,
    NAME_LENGTH_MAX,
    Hook,
    PluginFunction,
    PluginModule,
    SourceLine,
)
from zeroserve_ir.plugins.objects import ObjectFile, Relocation, SectionKind, Symbol, SymbolKind
from zeroserve_ir.program import abi
from zeroserve_ir.program.assembling import Assembler
from zeroserve_ir.program.encoding import encode
from zeroserve_ir.program.isa import (
    R0,
    R2,
    SLOT_BYTES,
    Binary,
    CallLocal,
    LoadImmediate,
    Operator,
    Register,
)

_R_ADDRESS: Final = 1
_R_DATA_ADDRESS: Final = 2
_R_CALL: Final = 10
_CALL: Final = 0x85
_LDDW: Final = 0x18
_LOCAL: Final = 1
_NAME: Final = re.compile(rf"[A-Za-z_][A-Za-z0-9_]{{0,{NAME_LENGTH_MAX - 1}}}\Z")
_PROLOGUE_SLOTS: Final = 1
_HOOKS: Final = {hook.value: hook for hook in Hook}
_PROLOGUE: Final = encode(Binary(Operator.MOV, 64, R0, 0))
"""Before each function: those that return nothing leave r0 unwritten, and the verifier wants it written."""
_LIBRARY: Final = frozenset({"memcpy", "memmove", "memset", "memcmp"})
"""What header and crate bring, and nobody wants to export."""
_UNKNOWN_ENTRY: Final = abi.encode_action(abi.Action.ERROR, detail=500)

Place = tuple[int, int]
"""Section number and byte offset."""


@dataclass(frozen=True, slots=True)
class _Function:
    name: str
    place: Place
    size: int


@dataclass(slots=True)
class _Linker:
    file: ObjectFile
    functions: dict[Place, _Function]
    relocations: dict[Place, Relocation]
    reached: dict[Place, int] = field(default_factory=dict)
    """Functions that are taken along, with their first slots."""
    addresses: dict[int, int] = field(default_factory=dict)
    """Guest addresses of the data sections that are taken along."""


def link(file: ObjectFile) -> PluginModule:
    """Link an object file; raises PluginError."""
    functions = _find_functions(file)
    relocations = {
        (section, each.offset): each for section, group in file.relocations.items() for each in group
    }
    linker = _Linker(file, functions, relocations)
    exports = _find_exports(file, functions)
    dispatcher_slots = len(_write_dispatcher([0] * len(exports))) // SLOT_BYTES
    _reach_functions(linker, [place for place, _ in exports], dispatcher_slots)
    data, bss_bytes = _lay_out_data(linker)
    code = _write_dispatcher([linker.reached[place] for place, _ in exports])
    code += b"".join(_relocate(linker, functions[place], slot) for place, slot in linker.reached.items())
    return PluginModule(
        functions=tuple(
            PluginFunction(name, entry, hook) for entry, (_, (name, hook)) in enumerate(exports, 1)
        ),
        code=code,
        data=data,
        bss_bytes=bss_bytes,
        lines=_find_lines(linker),
    )


def _find_functions(file: ObjectFile) -> dict[Place, _Function]:
    functions: dict[Place, _Function] = {}
    for symbol in file.symbols:
        if symbol.kind is not SymbolKind.FUNCTION or symbol.section is None:
            continue
        if file.sections[symbol.section].kind is not SectionKind.CODE:
            raise PluginError(Fault.SYMBOL_BOUNDS, f"function {symbol.name!r} outside the code")
        if not symbol.size or symbol.offset % SLOT_BYTES or symbol.size % SLOT_BYTES:
            raise PluginError(Fault.SYMBOL_BOUNDS, f"function {symbol.name!r}")
        function = _Function(symbol.name, (symbol.section, symbol.offset), symbol.size)
        other = functions.setdefault(function.place, function)
        if other.size != function.size:
            raise PluginError(Fault.FUNCTION_OVERLAP, f"{other.name!r} and {function.name!r}")
    before: _Function | None = None
    for place, function in sorted(functions.items()):
        if before and before.place[0] == place[0] and before.place[1] + before.size > place[1]:
            raise PluginError(Fault.FUNCTION_OVERLAP, f"{before.name!r} and {function.name!r}")
        before = function
    return functions


def _find_exports(
    file: ObjectFile, functions: dict[Place, _Function]
) -> list[tuple[Place, tuple[str, Hook]]]:
    """Return places, names and hooks; a place may have a local name too, which nobody calls."""
    exports: dict[Place, tuple[str, Hook]] = {}
    names: set[str] = set()
    for symbol in file.symbols:
        if symbol.kind is not SymbolKind.FUNCTION or symbol.section is None or not symbol.exported:
            continue
        hook = _HOOKS.get(file.sections[symbol.section].name)
        if hook is None:
            continue
        place = (symbol.section, symbol.offset)
        if not _NAME.match(symbol.name) or symbol.name in names or place in exports:
            raise PluginError(Fault.FUNCTION_NAME, repr(symbol.name))
        names.add(symbol.name)
        exports[place] = symbol.name, hook
    if not exports:
        names = {function.name for function in functions.values()}
        names = {name for name in names if name.removeprefix("zs.") not in _LIBRARY}
        found = ", ".join(sorted(names))[:200]
        raise PluginError(Fault.NO_FUNCTIONS, f"functions of the file: {found or 'none'}")
    if len(exports) > FUNCTIONS_MAX:
        raise PluginError(Fault.TOO_MANY_FUNCTIONS, f"{len(exports)}")
    return sorted(exports.items())


def _write_dispatcher(targets: list[int]) -> bytes:
    """Return code that calls the subprogram at the slot of entry number r2, from 1."""
    assembler = Assembler()
    for entry in range(1, len(targets) + 1):
        assembler.jump_if("jeq", R2, entry, f"entry{entry}")
    assembler.mov(R0, _UNKNOWN_ENTRY)
    assembler.exit()
    for entry, target in enumerate(targets, 1):
        assembler.label(f"entry{entry}")
        assembler.write(CallLocal(target - assembler.position - 1))
        assembler.exit()
    return assembler.finish()


def _reach_functions(linker: _Linker, exports: list[Place], first_slot: int) -> None:
    """Note the exported functions and all that they call, with the slots where they will stand."""
    slot, waiting = first_slot, list(reversed(exports))
    while waiting:
        place = waiting.pop()
        if place in linker.reached:
            continue
        function = linker.functions[place]
        linker.reached[place] = slot
        slot += _PROLOGUE_SLOTS + function.size // SLOT_BYTES
        if slot > abi.INSTRUCTIONS_MAX:
            raise PluginError(
                Fault.CODE_SIZE, f"more than {abi.INSTRUCTIONS_MAX} slots with {function.name!r}"
            )
        waiting += [callee for _, callee in _find_calls(linker, function)]


def _find_calls(linker: _Linker, function: _Function) -> list[tuple[int, Place]]:
    """Return (byte offset of the call in its section, callee) of the local calls of a function."""
    section, start = function.place
    content = linker.file.sections[section].content
    calls: list[tuple[int, Place]] = []
    skip = False
    for offset in range(start, start + function.size, SLOT_BYTES):
        opcode = content[offset]
        if skip:
            skip = False
            continue
        skip = opcode == _LDDW
        relocation = linker.relocations.get((section, offset))
        if opcode != _CALL:
            continue
        immediate = _immediate(content, offset)
        if relocation is not None:
            calls.append((offset, _find_callee(linker, function, relocation, immediate)))
        elif content[offset + 1] >> 4 == _LOCAL:
            calls.append((offset, _check_callee(linker, (section, offset + (immediate + 1) * SLOT_BYTES))))
        elif (helper := abi.BY_NUMBER.get(immediate)) is not None and helper.use is abi.Use.ROUTE:
            raise PluginError(Fault.ROUTE_HELPER, f"{helper.name} in {function.name!r}")
    return calls


def _find_callee(linker: _Linker, function: _Function, relocation: Relocation, immediate: int) -> Place:
    symbol = linker.file.symbols[relocation.symbol]
    if relocation.kind != _R_CALL:
        raise PluginError(Fault.RELOCATION_KIND, f"kind {relocation.kind} at a call in {function.name!r}")
    if symbol.section is None:
        raise PluginError(Fault.UNDEFINED_SYMBOL, f"{symbol.name!r} in {function.name!r}")
    return _check_callee(linker, (symbol.section, symbol.offset + (immediate + 1) * SLOT_BYTES))


def _check_callee(linker: _Linker, place: Place) -> Place:
    if place not in linker.functions:
        raise PluginError(Fault.CALL_TARGET, f"{linker.file.sections[place[0]].name!r}{place[1]:+d}")
    return place


def _lay_out_data(linker: _Linker) -> tuple[bytes, int]:
    """Give addresses to the data that reached code names; returns initial bytes and how many zeros follow."""
    wanted = _reach_data(linker)
    kinds = linker.file.sections
    initial = [number for number in wanted if kinds[number].kind is SectionKind.DATA]
    position = 0
    for number in initial + [number for number in wanted if kinds[number].kind is SectionKind.ZERO]:
        section = linker.file.sections[number]
        position = -(-position // section.alignment) * section.alignment
        linker.addresses[number] = abi.HEAP + position
        position += section.size
        if position > HEAP_BYTES_MAX:
            raise PluginError(Fault.HEAP_SIZE, f"{position} bytes with {section.name!r}")
    data = bytearray()
    for number in initial:
        data += bytes(linker.addresses[number] - abi.HEAP - len(data))
        data += _relocate_data(linker, number)
    return bytes(data), position - len(data)


def _reach_data(linker: _Linker) -> list[int]:
    """Return the numbers of the data sections that reached functions name, directly or through data."""
    wanted: set[int] = set()
    waiting: list[tuple[str, Relocation]] = []
    for place in linker.reached:
        function = linker.functions[place]
        calls = {offset for offset, _ in _find_calls(linker, function)}
        waiting += [
            (function.name, linker.relocations[place[0], offset])
            for offset in range(place[1], place[1] + function.size)
            if offset not in calls and (place[0], offset) in linker.relocations
        ]
    while waiting:
        user, relocation = waiting.pop()
        number = _find_data(linker, linker.file.symbols[relocation.symbol], user)
        if number not in wanted:
            wanted.add(number)
            name = linker.file.sections[number].name
            waiting += [(name, each) for each in linker.file.relocations.get(number, ())]
    return sorted(wanted)


def _find_data(linker: _Linker, symbol: Symbol, user: str) -> int:
    if symbol.section is None:
        raise PluginError(Fault.UNDEFINED_SYMBOL, f"{symbol.name!r} in {user!r}")
    section = linker.file.sections[symbol.section]
    if section.kind is SectionKind.CODE:
        raise PluginError(Fault.FUNCTION_POINTER, f"{symbol.name or section.name!r} in {user!r}")
    if section.kind is SectionKind.OTHER:
        raise PluginError(Fault.ADDRESS_BOUNDS, f"{section.name!r} in {user!r}")
    return symbol.section


def _resolve(linker: _Linker, relocation: Relocation, addend: int) -> int:
    """Return the guest address of a symbol of data, plus addend; one past the end is allowed, as in C."""
    symbol = linker.file.symbols[relocation.symbol]
    assert symbol.section is not None
    section, offset = linker.file.sections[symbol.section], symbol.offset + addend
    if not 0 <= offset <= section.size:
        raise PluginError(Fault.ADDRESS_BOUNDS, f"{section.name!r}{offset:+d}")
    return linker.addresses[symbol.section] + offset


def _relocate_data(linker: _Linker, number: int) -> bytes:
    content = bytearray(linker.file.sections[number].content)
    for relocation in linker.file.relocations.get(number, ()):
        if relocation.kind != _R_DATA_ADDRESS:
            name = linker.file.sections[number].name
            raise PluginError(Fault.RELOCATION_KIND, f"kind {relocation.kind} in {name!r}")
        (addend,) = struct.unpack_from("<q", content, relocation.offset)
        struct.pack_into("<Q", content, relocation.offset, _resolve(linker, relocation, addend))
    return bytes(content)


def _relocate(linker: _Linker, function: _Function, first_slot: int) -> bytes:
    """Return the code of a function that is to stand at a slot."""
    section, start = function.place
    content = linker.file.sections[section].content
    code = bytearray(content[start : start + function.size])
    calls = _find_calls(linker, function)
    for offset, callee in calls:
        slot = first_slot + _PROLOGUE_SLOTS + (offset - start) // SLOT_BYTES
        code[offset - start : offset - start + SLOT_BYTES] = encode(
            CallLocal(linker.reached[callee] - slot - 1)
        )
    for offset in range(start, start + function.size):
        relocation = linker.relocations.get((section, offset))
        if relocation is None or any(offset == call for call, _ in calls):
            continue
        at = offset - start
        if relocation.kind != _R_ADDRESS:
            raise PluginError(Fault.RELOCATION_KIND, f"kind {relocation.kind} in {function.name!r}")
        if at % SLOT_BYTES or at + 2 * SLOT_BYTES > len(code) or code[at] != _LDDW or code[at + 1] > 0xF:
            raise PluginError(Fault.RELOCATION_PLACE, f"{function.name!r}+{at}")
        if code[at + 1] >= len(Register):
            raise PluginError(Fault.RELOCATION_PLACE, f"{function.name!r}+{at}: register {code[at + 1]}")
        address = _resolve(linker, relocation, _immediate(code, at))
        code[at : at + 2 * SLOT_BYTES] = encode(LoadImmediate(Register(code[at + 1]), address))
    return _PROLOGUE + bytes(code)


def _immediate(code: bytes | bytearray, offset: int) -> int:
    return int(struct.unpack_from("<i", code, offset + 4)[0])


def _find_lines(linker: _Linker) -> tuple[SourceLine, ...]:
    types, extension = linker.file.find_section(".BTF"), linker.file.find_section(".BTF.ext")
    if types is None or extension is None:
        return ()
    places = read_places(types.content, extension.content)
    lines: dict[int, SourceLine] = {}
    for (section, start), first_slot in linker.reached.items():
        end = start + linker.functions[section, start].size
        found = places.get(linker.file.sections[section].name, ())
        for offset, file, line in found[bisect_left(found, (start,)) : bisect_left(found, (end,))]:
            slot = first_slot + _PROLOGUE_SLOTS + (offset - start) // SLOT_BYTES
            if line:
                lines[slot] = SourceLine(slot, file, line)
    return tuple(line for _, line in sorted(lines.items()))
