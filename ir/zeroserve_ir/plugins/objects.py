"""Reads the ELF file of a plugin into typed parts: sections, symbols, relocations.

In: bytes that a stranger wrote. Out: `ObjectFile`, or PluginError. The rule: every number that the linker
uses as a place was checked here against what it is a place in.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from zeroserve_ir.plugins.faults import Fault, PluginError
from zeroserve_ir.plugins.modules import HEAP_BYTES_MAX, OBJECT_BYTES_MAX
from zeroserve_ir.program.isa import SLOT_BYTES

SECTIONS_MAX: Final = 512
"""A debug build of our largest example has 40."""
SYMBOLS_MAX: Final = 8192
RELOCATIONS_MAX: Final = 65536
ALIGNMENT_MAX: Final = 64
READ_BYTES_MAX: Final = 8 << 20
"""Tables and names, each as often as it is read: names may overlap, and be as long as the file."""

_ALLOCATED: Final = 0x2
_EXECUTABLE: Final = 0x4


class SectionKind(Enum):
    """What a section is for, as far as it matters here."""

    CODE = "code"
    DATA = "data"
    ZERO = "zero"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Section:
    """One section; `content` is empty for ZERO."""

    name: str
    kind: SectionKind
    alignment: int
    size: int
    content: bytes


class SymbolKind(Enum):
    """What a symbol names."""

    FUNCTION = "function"
    SECTION = "section"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Symbol:
    """A named place: `offset` in section number `section`, None where it is not defined here."""

    name: str
    kind: SymbolKind
    section: int | None
    offset: int
    size: int
    exported: bool


@dataclass(frozen=True, slots=True)
class Relocation:
    """A place of a section that waits for an address; `kind` is R_BPF_*."""

    offset: int
    kind: int
    symbol: int


@dataclass(frozen=True, slots=True)
class ObjectFile:
    """A relocatable eBPF object: sections and symbols by number, relocations by section number."""

    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    relocations: dict[int, tuple[Relocation, ...]]

    def find_section(self, name: str) -> Section | None:
        """Return the first section of a name."""
        return next((section for section in self.sections if section.name == name), None)


class _Metered(io.BytesIO):
    """The file as the library reads it, only so many bytes in all."""

    left = READ_BYTES_MAX

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        self.left -= len(piece)
        if self.left < 0:
            raise PluginError(Fault.TOO_MANY_PARTS, f"names and tables of more than {READ_BYTES_MAX} bytes")
        return piece


def read_object(content: bytes) -> ObjectFile:
    """Read an ELF file; raises PluginError, whatever the bytes are."""
    if len(content) > OBJECT_BYTES_MAX:
        raise PluginError(Fault.FILE_SIZE, f"{len(content)} bytes")
    try:
        return _read(content)
    except PluginError:
        raise
    except Exception as error:  # the library raises whatever its parts do; the file is at fault in all cases
        raise PluginError(Fault.NOT_ELF, f"{type(error).__name__}: {error}"[:200]) from error


def _read(content: bytes) -> ObjectFile:
    # Loaded with the first plugin: an eighth of the start of a server that has none.
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415
    from elftools.elf.relocation import RelocationSection  # noqa: PLC0415
    from elftools.elf.sections import SymbolTableSection  # noqa: PLC0415

    file: Any = ELFFile(_Metered(content))
    header = file.header
    if header["e_machine"] != "EM_BPF" or not file.little_endian or file.elfclass != 64:
        found = f"{header['e_machine']}, {file.elfclass} bits"
        raise PluginError(Fault.WRONG_MACHINE, found)
    if header["e_type"] != "ET_REL":
        raise PluginError(Fault.NOT_RELOCATABLE, str(header["e_type"]))
    count = file.num_sections()
    if not 0 < count <= SECTIONS_MAX:
        raise PluginError(Fault.TOO_MANY_PARTS, f"{count} sections")
    raw = [file.get_section(number) for number in range(count)]
    _check_overlap(raw, len(content))
    sections = tuple(_read_section(one, content) for one in raw)
    tables = [(number, one) for number, one in enumerate(raw) if isinstance(one, SymbolTableSection)]
    if len(tables) != 1:
        raise PluginError(Fault.NOT_ELF, f"{len(tables)} symbol tables")
    table_number, table = tables[0]
    if table.num_symbols() > SYMBOLS_MAX:
        raise PluginError(Fault.TOO_MANY_PARTS, f"{table.num_symbols()} symbols")
    symbols = tuple(_read_symbol(one, sections) for one in table.iter_symbols())
    moving = [one for one in raw if isinstance(one, RelocationSection)]
    return ObjectFile(sections, symbols, _read_relocations(moving, sections, table_number, len(symbols)))


def _check_overlap(sections: list[Any], file_bytes: int) -> None:
    """Refuse sections that share bytes: each would be a copy, of up to a whole file."""
    total = sum(one["sh_size"] for one in sections if one["sh_type"] not in ("SHT_NULL", "SHT_NOBITS"))
    if total > file_bytes:
        raise PluginError(Fault.SECTION_BOUNDS, f"{total} bytes of sections in a file of {file_bytes}")


def _read_section(section: Any, file: bytes) -> Section:
    size, offset, flags = section["sh_size"], section["sh_offset"], section["sh_flags"]
    zero = section["sh_type"] == "SHT_NOBITS"
    kind = SectionKind.OTHER
    if flags & _ALLOCATED and section["sh_type"] in ("SHT_PROGBITS", "SHT_NOBITS"):
        kind = SectionKind.ZERO if zero else SectionKind.CODE if flags & _EXECUTABLE else SectionKind.DATA
    alignment = section["sh_addralign"] or 1
    if alignment > ALIGNMENT_MAX or alignment & alignment - 1:
        raise PluginError(Fault.SECTION_BOUNDS, f"{section.name!r} aligned to {alignment}")
    if zero:
        if kind is SectionKind.ZERO and size > HEAP_BYTES_MAX:
            raise PluginError(Fault.HEAP_SIZE, f"{size} bytes of {section.name!r}")
        return Section(section.name, kind, alignment, size, b"")
    if section["sh_type"] == "SHT_NULL":
        return Section("", kind, 1, 0, b"")
    if offset + size > len(file) or flags & 0x800:
        raise PluginError(Fault.SECTION_BOUNDS, f"{section.name!r}")
    if kind is SectionKind.CODE and size % SLOT_BYTES:
        raise PluginError(Fault.SECTION_BOUNDS, f"{section.name!r} has {size} bytes of code")
    return Section(section.name, kind, alignment, size, file[offset : offset + size])


def _read_symbol(symbol: Any, sections: tuple[Section, ...]) -> Symbol:
    number, info = symbol["st_shndx"], symbol["st_info"]
    kind = {"STT_FUNC": SymbolKind.FUNCTION, "STT_SECTION": SymbolKind.SECTION}.get(
        info["type"], SymbolKind.OTHER
    )
    if number == "SHN_COMMON":
        raise PluginError(Fault.COMMON_SYMBOL, symbol.name)
    if not isinstance(number, int):
        return Symbol(symbol.name, kind, None, 0, 0, exported=False)
    if number >= len(sections) or symbol["st_value"] + symbol["st_size"] > sections[number].size:
        raise PluginError(Fault.SYMBOL_BOUNDS, f"{symbol.name!r} of section {number}")
    exported = info["bind"] in ("STB_GLOBAL", "STB_WEAK")
    return Symbol(symbol.name, kind, number, symbol["st_value"], symbol["st_size"], exported)


def _read_relocations(
    raw: list[Any], sections: tuple[Section, ...], table: int, symbols: int
) -> dict[int, tuple[Relocation, ...]]:
    relocations: dict[int, tuple[Relocation, ...]] = {}
    total = 0
    for one in raw:
        target = one["sh_info"]
        if not 0 < target < len(sections):
            continue
        if sections[target].kind not in (SectionKind.CODE, SectionKind.DATA):
            continue
        total += one.num_relocations()
        if total > RELOCATIONS_MAX:
            raise PluginError(Fault.TOO_MANY_PARTS, f"{total} relocations")
        if one.is_RELA():
            raise PluginError(Fault.RELOCATION_KIND, f"addends beside {sections[target].name!r}")
        if one["sh_link"] != table or target in relocations:
            raise PluginError(Fault.NOT_ELF, f"relocations of {sections[target].name!r}")
        found = tuple(
            Relocation(each["r_offset"], each["r_info_type"], each["r_info_sym"])
            for each in one.iter_relocations()
        )
        for each in found:
            if each.symbol >= symbols or each.offset + SLOT_BYTES > sections[target].size:
                raise PluginError(Fault.RELOCATION_PLACE, f"{sections[target].name!r}+{each.offset}")
        relocations[target] = found
    return relocations
