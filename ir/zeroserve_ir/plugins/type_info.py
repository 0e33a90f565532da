"""Signatures of a plugin's functions, from the .BTF section that `-g` leaves.

In: the section. Out: for each function's name, what it takes and gives. The rule: debug information is a
help, never a reason to refuse a file: what does not parse is left out. Layout: the kernel's
Documentation/bpf/btf.rst, chapter 2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from zeroserve_ir.plugins.faults import make_printable

_MAGIC: Final = 0xEB9F
_HEADER: Final = struct.Struct("<HBBIIIII")
_TYPE: Final = struct.Struct("<III")
_PARAMETER: Final = struct.Struct("<II")
TYPES_MAX: Final = 65536
_NESTING_MAX: Final = 32
"""Names and qualifiers of one type."""


class Kind(IntEnum):
    """Kinds of types, by their numbers."""

    INTEGER = 1
    POINTER = 2
    ARRAY = 3
    STRUCTURE = 4
    UNION = 5
    ENUMERATION = 6
    FORWARD = 7
    NAME = 8
    VOLATILE = 9
    CONSTANT = 10
    RESTRICT = 11
    FUNCTION = 12
    PROTOTYPE = 13
    VARIABLE = 14
    SECTION = 15
    FLOAT = 16
    TAG = 17
    TYPE_TAG = 18
    ENUMERATION_64 = 19


_SAME: Final = {Kind.NAME, Kind.VOLATILE, Kind.CONSTANT, Kind.RESTRICT, Kind.TYPE_TAG}
"""Other names of what they point to."""
_FURTHER: Final = {
    **dict.fromkeys((Kind.INTEGER, Kind.VARIABLE, Kind.TAG), (4, 0)),
    Kind.ARRAY: (12, 0),
    **dict.fromkeys((Kind.STRUCTURE, Kind.UNION, Kind.SECTION, Kind.ENUMERATION_64), (0, 12)),
    **dict.fromkeys((Kind.ENUMERATION, Kind.PROTOTYPE), (0, 8)),
}
"""Bytes that follow a type: always, and for each of its parts."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What a function takes and gives."""

    parameters: tuple[Kind, ...]
    result: str
    """Name of its type, `void` where it gives nothing."""
    result_kind: Kind | None
    result_bytes: int


@dataclass(frozen=True, slots=True)
class _Type:
    kind: Kind
    name: str
    value: int
    """Bytes of it, or the number of the type that it is of."""
    parts: bytes


def read_signatures(content: bytes) -> dict[str, Signature]:
    """Return the signatures of the functions by name; empty where the section does not parse."""
    try:
        types = _read_types(content)
    except (struct.error, ValueError):
        return {}
    found = {}
    for each in types:
        prototype = _find(types, each.value) if each.kind is Kind.FUNCTION else None
        if prototype is not None and prototype.kind is Kind.PROTOTYPE:
            found[each.name] = _read_signature(types, prototype)
    return found


def _read_types(content: bytes) -> list[_Type]:
    magic, _, _, length, start, size, texts_start, texts_size = _HEADER.unpack_from(content)
    if magic != _MAGIC:
        return []
    texts = content[length + texts_start :][:texts_size]
    block = content[length + start :][:size]
    # Number 0 is void.
    types, position = [_Type(Kind.INTEGER, "void", 0, b"")], 0
    while position < len(block) and len(types) < TYPES_MAX:
        name, info, value = _TYPE.unpack_from(block, position)
        kind, count = Kind(info >> 24 & 0x1F), info & 0xFFFF
        fixed, each = _FURTHER.get(kind, (0, 0))
        position += _TYPE.size
        parts = block[position : position + fixed + each * count]
        position += len(parts)
        text = texts[name : max(texts.find(b"\0", name), 0)].decode(errors="replace")
        types.append(_Type(kind, make_printable(text), value, parts))
    return types


def _find(types: list[_Type], number: int) -> _Type | None:
    """Return a type without its other names."""
    for _ in range(_NESTING_MAX):
        if number >= len(types):
            return None
        if types[number].kind not in _SAME:
            return types[number]
        number = types[number].value
    return None


def _read_signature(types: list[_Type], prototype: _Type) -> Signature:
    result = _find(types, prototype.value)
    # The name that the author wrote, where there is one.
    written = types[prototype.value].name if prototype.value < len(types) else ""
    parameters = [_find(types, number) for _, number in _PARAMETER.iter_unpack(prototype.parts)]
    return Signature(
        tuple(each.kind for each in parameters if each is not None),
        written or (result.name if result else ""),
        result.kind if result else None,
        result.value if result and result.kind is not Kind.POINTER else 0,
    )
