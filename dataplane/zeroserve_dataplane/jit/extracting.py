"""The machine code of an object file, after proof that nothing is left to link.

In: what LLVM emitted, a relocatable file of little-endian ELF64. Out: `.text` alone, position-independent,
and where `run` starts in it. Called by `emitting`. The rule: an object with a relocation, an undefined symbol
or another allocated section is a defect of ours and never leaves here. By hand, since pyelftools was a third
of a worker's start and of a small program's compilation.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from zeroserve_dataplane.jit.targets import Target
from zeroserve_dataplane.jit.translating import ENTRY_NAME

# The ELF specification's names and layouts (gABI 4.1, chapters 4 and 5).
_IDENTITY: Final = b"\x7fELF\x02\x01"
_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_SYMBOL: Final = struct.Struct("<IBBHQQ")
_SHT_SYMTAB: Final = 2
_SHT_RELA: Final = 4
_SHT_REL: Final = 9
_SHF_ALLOC: Final = 2
_SHN_UNDEF: Final = 0


class EmissionError(Exception):
    """LLVM made, or would have made, something that cannot be mapped as it is: a defect of ours."""


@dataclass(frozen=True, slots=True)
class MachineCode:
    """Position-independent code, and the byte offset of `run` in it."""

    text: bytes
    entry: int


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    kind: int
    allocated: bool
    link: int
    """Of a symbol table: the section of its names."""
    info: int
    """Of relocations: the section that they change."""
    content: bytes


def extract(content: bytes, target: Target) -> MachineCode:
    """Return `.text` of an object after proving that it needs nothing else; raises EmissionError."""
    try:
        return _extract(content, target)
    except (struct.error, IndexError, ValueError) as error:
        raise EmissionError(f"no object file: {error}") from error


def _extract(content: bytes, target: Target) -> MachineCode:
    sections = _read_sections(content, target)
    texts = [number for number, section in enumerate(sections) if section.name == ".text"]
    if len(texts) != 1:
        raise EmissionError(f"object has {len(texts)} sections .text")
    for section in sections:
        changed = sections[section.info] if section.kind in (_SHT_RELA, _SHT_REL) else None
        if changed is not None and changed.allocated and section.content:
            raise EmissionError(f"relocations in {changed.name}")
        if section.allocated and section.content and section.name != ".text":
            raise EmissionError(f"section {section.name} of {len(section.content)} bytes beside .text")
    symbols = [symbol for section in sections for symbol in _read_symbols(section, sections)]
    undefined = [name for name, number, _ in symbols if number == _SHN_UNDEF]
    if undefined:
        raise EmissionError(f"undefined symbols {', '.join(undefined)}")
    entries = [value for name, number, value in symbols if name == ENTRY_NAME and number == texts[0]]
    if len(entries) != 1:
        raise EmissionError(f"object has {len(entries)} symbols {ENTRY_NAME}")
    return MachineCode(sections[texts[0]].content, entries[0])


def _read_sections(content: bytes, target: Target) -> list[_Section]:
    identity, _, machine, *_, at, _, _, _, _, size, count, names = _HEADER.unpack_from(content)
    if not identity.startswith(_IDENTITY) or size != _SECTION.size:
        raise EmissionError("object is no little-endian ELF64")
    if machine != target.machine.elf:
        raise EmissionError(f"object is for machine {machine}, not {target.machine.elf}")
    raw = list(_SECTION.iter_unpack(_cut(content, at, size * count)))
    named = _cut(content, raw[names][4], raw[names][5])
    return [
        # Sections without bytes in the file (SHT_NOBITS) count by their size too: here they are not empty.
        _Section(
            _cut_name(named, name), kind, bool(flags & _SHF_ALLOC), link, info, _cut(content, start, length)
        )
        for name, kind, flags, _, start, length, link, info, _, _ in raw
    ]


def _read_symbols(section: _Section, sections: list[_Section]) -> Iterator[tuple[str, int, int]]:
    """Yield (name, section, value) of the symbols that have a name."""
    if section.kind == _SHT_SYMTAB:
        for name, _, _, number, value, _ in _SYMBOL.iter_unpack(section.content):
            if name:
                yield _cut_name(sections[section.link].content, name), number, value


def _cut(content: bytes, start: int, length: int) -> bytes:
    if start + length > len(content):
        raise EmissionError(f"object ends before byte {start + length}")
    return content[start : start + length]


def _cut_name(names: bytes, start: int) -> str:
    return names[start : names.index(b"\0", start)].decode()
