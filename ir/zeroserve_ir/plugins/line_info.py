"""Source lines of a plugin's instructions, from the .BTF and .BTF.ext sections that `-g` leaves.

In: the two sections. Out: for each code section's name, (byte offset, file, line). The rule: debug
information is a help, never a reason to refuse; what does not parse is left out. Layout: the kernel's
Documentation/bpf/btf.rst, chapter 4.
"""

from __future__ import annotations

import struct
from typing import Final

from zeroserve_ir.plugins.faults import make_printable
from zeroserve_ir.plugins.modules import FILE_NAME_LENGTH_MAX

_MAGIC: Final = 0xEB9F
_HEADER: Final = struct.Struct("<HBBI")
_BTF: Final = struct.Struct("<IIII")
_EXTENSION: Final = struct.Struct("<IIII")
_GROUP: Final = struct.Struct("<II")
_LINE: Final = struct.Struct("<IIII")
_LINE_SHIFT: Final = 10
LINES_MAX: Final = 65536

Places = dict[str, tuple[tuple[int, str, int], ...]]


def read_places(types: bytes, extension: bytes) -> Places:
    """Return (byte offset, file, line) by section name, in the order of the code."""
    try:
        return _read(_read_strings(types), extension)
    except struct.error:
        return {}


def _read_strings(types: bytes) -> bytes:
    magic, _, _, length = _HEADER.unpack_from(types, 0)
    _, _, start, size = _BTF.unpack_from(types, _HEADER.size)
    return types[length + start : length + start + size] if magic == _MAGIC else b""


def _read(strings: bytes, extension: bytes) -> Places:
    magic, _, _, length = _HEADER.unpack_from(extension, 0)
    _, _, start, size = _EXTENSION.unpack_from(extension, _HEADER.size)
    block = extension[length + start : length + start + size]
    if magic != _MAGIC or len(block) < 4:
        return {}
    (record_bytes,) = struct.unpack_from("<I", block)
    if record_bytes < _LINE.size:
        return {}
    places: Places = {}
    position, left = 4, LINES_MAX
    while position + _GROUP.size <= len(block):
        name, count = _GROUP.unpack_from(block, position)
        position += _GROUP.size
        count, after = min(count, left), position + count * record_bytes
        left -= count
        records = [_LINE.unpack_from(block, position + each * record_bytes) for each in range(count)]
        found = ((at, _text(strings, file), where >> _LINE_SHIFT) for at, file, _, where in records)
        places[_text(strings, name)] = tuple(sorted(found))
        position = after
    return places


def _text(strings: bytes, offset: int) -> str:
    end = strings.find(b"\0", offset, offset + FILE_NAME_LENGTH_MAX)
    return make_printable(strings[offset : end if end >= 0 else offset].decode(errors="replace"))
