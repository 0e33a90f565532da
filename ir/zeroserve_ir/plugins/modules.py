"""A loaded plugin: one program with its functions by entry number, and the memory that it begins with.

Out of `loading`; read by drafting, the command line and the operator. The rule: what is here still has to be
verified, as any program; loading only makes one program of a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from zeroserve_ir.program import abi

OBJECT_BYTES_MAX: Final = 1 << 20
"""An ELF file, debug information included; what fits into a Kubernetes object as base64."""
FUNCTIONS_MAX: Final = 64
"""Exported functions of one plugin: the dispatcher compares entry numbers one by one."""
NAME_LENGTH_MAX: Final = 63
FILE_NAME_LENGTH_MAX: Final = 256
"""Of a source file, as debug information names it."""
LINE_MAX: Final = (1 << 22) - 1
"""Number of a source line (BTF has 22 bits for it)."""
HEAP_BYTES_MAX: Final = abi.HEAP_BYTES


class Hook(Enum):
    """When a function runs; the value is the ELF section that it is compiled into."""

    FUNCTION = "function"
    """Where a route says `zeroserve_call`."""
    REQUEST = "request"
    """Before the routes of a host."""
    RESPONSE = "response"
    """Once there is an answer."""


@dataclass(frozen=True, slots=True)
class PluginFunction:
    """An exported function: the program called with r2 = `entry` runs it, with r1 = abi.CONTEXT."""

    name: str
    entry: int
    """From 1."""
    hook: Hook


@dataclass(frozen=True, slots=True)
class SourceLine:
    """The line that an instruction came from, by debug information."""

    slot: int
    """First slot of `PluginModule.code` that belongs to it."""
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class PluginModule:
    """One program made of all that the exported functions need."""

    functions: tuple[PluginFunction, ...]
    """At least one, by entry."""
    code: bytes
    """The dispatcher at slot 0, then the functions, all of them subprograms."""
    data: bytes
    """What the heap begins with at abi.HEAP: read-only data first, then .data."""
    bss_bytes: int
    """Zeros after `data`."""
    lines: tuple[SourceLine, ...] = ()
    """By slot, at most one each; empty without debug information."""

    def find(self, name: str) -> PluginFunction | None:
        """Return the exported function of a name."""
        return next((function for function in self.functions if function.name == name), None)
