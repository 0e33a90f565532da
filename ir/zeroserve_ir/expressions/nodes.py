"""Nodes of a CEL expression: parsed, and after checking without unknown names and overloads.

Offsets count characters of the text that was parsed, from 0; they take no part in equality.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from zeroserve_ir.tree import Matcher


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A uint literal."""

    value: int


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant; None is null."""

    value: bool | int | Unsigned | float | str | bytes | None
    offset: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A value of the request, by Caddy's long name without braces."""

    name: str
    offset: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Identifier:
    """A name: a macro's variable, or the first part of a function's name."""

    name: str
    offset: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """An operator, function or method with its operands (a method's target first).

    `list` and `map` construct, `select` and `has` take a field, `index` an element.
    """

    function: str
    operands: tuple[Node, ...]
    method: bool = False
    offset: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Macro:
    """all, exists, exists_one, map, filter, bind: steps with a variable, for each element of the range."""

    macro: str
    variable: str
    range: Node
    steps: tuple[Node, ...]
    offset: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Match:
    """A matcher function: what it matches in the tree's own terms."""

    matcher: Matcher
    offset: int = field(default=0, compare=False)


Node = Literal | Placeholder | Identifier | Call | Macro | Match


class ExpressionError(Exception):
    """An expression cannot be used: why, where, and what to write instead."""

    def __init__(self, message: str, offset: int, cure: str = "", *, unsupported: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.cure = cure
        self.unsupported = unsupported
