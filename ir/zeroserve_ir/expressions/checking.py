"""Types of CEL expressions: every operator and function has an overload, the result is a boolean.

In: nodes of the parser. Out: the same nodes, or an `ExpressionError` as cel-go's checker would refuse them.
A type is its kind alone; what lists and maps hold is `dyn`, as placeholders are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from zeroserve_ir.expressions.lowering import as_matcher_sets
from zeroserve_ir.expressions.matchers import require_pattern
from zeroserve_ir.expressions.nodes import (
    Call,
    ExpressionError,
    Identifier,
    Literal,
    Macro,
    Match,
    Node,
    Placeholder,
    Unsigned,
)
from zeroserve_ir.expressions.parsing import parse_expression
from zeroserve_ir.tree import Matcher
from zeroserve_ir.tree_files import MatchFile

DYN = "dyn"
_PLACEHOLDERS = re.compile(r"\{([A-Za-z][^{}'\"]*)\}")


@lru_cache(maxsize=4096)
def compile_expression(text: str, name: str = "") -> Node:
    """Parse and check an expression. Raises ExpressionError."""
    node = parse_expression(text, name)
    found = type_of(node, {})
    if found != "bool":
        raise ExpressionError(f"the result is {found}, not a bool", 0, "compare it with something")
    if as_matcher_sets(node) is None and any(isinstance(one, MatchFile) for one in find_matchers(node)):
        cure = "join file() with other matchers by &&, || and !, and match on values apart"
        raise ExpressionError("file() beside values is not supported yet", 0, cure, unsupported=True)
    return node


def find_matchers(node: Node) -> tuple[Matcher, ...]:
    """Return the matchers in an expression."""
    return tuple(one.matcher for one in walk(node) if isinstance(one, Match))


def find_placeholders(node: Node) -> tuple[str, ...]:
    """Return the names of the placeholders in an expression, those in the texts of matchers included."""
    names = [one.name for one in walk(node) if isinstance(one, Placeholder)]
    for matcher in find_matchers(node):
        names += _PLACEHOLDERS.findall(repr(matcher))
    return tuple(names)


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and all below it."""
    yield node
    match node:
        case Call(operands=operands):
            inner = operands
        case Macro(range=ranged, steps=steps):
            inner = (ranged, *steps)
        case _:
            inner = ()
    for one in inner:
        yield from walk(one)


def type_of(node: Node, variables: dict[str, str]) -> str:
    """Return a node's type. Raises ExpressionError."""
    match node:
        case Literal(value):
            return _literal_type(value)
        case Placeholder():
            return DYN
        case Match():
            return "bool"
        case Identifier(name, offset=offset):
            if name not in variables:
                raise ExpressionError(f"unknown name {name!r}", offset, f"write '{name}' for a text")
            return variables[name]
        case Macro():
            return _macro_type(node, variables)
        case Call():
            types = [type_of(operand, variables) for operand in node.operands]
            return _call_type(node, types)


def _literal_type(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "double"
        case Unsigned():
            return "uint"
        case str():
            return "string"
        case _:
            return "bytes"


def _macro_type(node: Macro, variables: dict[str, str]) -> str:
    ranged = type_of(node.range, variables)
    if node.macro == "bind":
        return type_of(node.steps[0], {**variables, node.variable: ranged})
    if ranged not in ("list", "map", DYN):
        raise ExpressionError(f"{node.macro} goes over a list or a map, not {ranged}", node.offset)
    types = [type_of(step, {**variables, node.variable: DYN}) for step in node.steps]
    conditions = types[:-1] if node.macro == "map" else types
    for found in conditions:
        if found not in ("bool", DYN):
            raise ExpressionError(f"the condition of {node.macro} is {found}, not a bool", node.offset)
    return "list" if node.macro in ("map", "filter") else "bool"


def _call_type(node: Call, types: list[str]) -> str:
    function, offset = node.function, node.offset
    if function in ("list", "map"):
        return function
    if function in ("==", "!="):
        left, right = types
        if left != right and DYN not in types:
            raise ExpressionError(
                f"{left} is never equal to {right}", offset, "convert one: int(…), string(…)"
            )
        return "bool"
    if function == "?:":
        return _choice_type(types, offset)
    overloads = OVERLOADS.get(function, ()) + (METHODS if node.method else FUNCTIONS).get(function, ())
    if not overloads:
        if function in KNOWN_ELSEWHERE:
            raise ExpressionError(f"function {function} is not supported yet", offset, unsupported=True)
        raise ExpressionError(f"unknown function {function!r}", offset, "see the functions of CEL")
    results = {result for wanted, result in overloads if _accepts(wanted, types)}
    if not results:
        message = f"{function} takes no ({', '.join(types)})"
        raise ExpressionError(message, offset, "convert operands: int(…), double(…), string(…)")
    if function == "matches" and isinstance(node.operands[1], Literal):
        require_pattern(str(node.operands[1].value), offset)
    return results.pop() if len(results) == 1 else DYN


def _choice_type(types: list[str], offset: int) -> str:
    condition, chosen, other = types
    if condition not in ("bool", DYN):
        raise ExpressionError(f"the condition is {condition}, not a bool", offset)
    if chosen != other and DYN not in (chosen, other):
        raise ExpressionError(f"the choice is {chosen} or {other}", offset, "give both sides one type")
    return chosen if chosen == other else DYN


def _accepts(wanted: tuple[str, ...], types: list[str]) -> bool:
    if wanted and wanted[-1] == "...":
        return bool(types) and all(found in (*wanted[:-1], DYN) for found in types)
    return len(wanted) == len(types) and all(
        want == DYN or found in (want, DYN) for want, found in zip(wanted, types, strict=True)
    )


_Overloads = dict[str, tuple[tuple[tuple[str, ...], str], ...]]


def _table(text: str) -> _Overloads:
    """Read lines of `name: argument argument -> result`."""
    table: _Overloads = {}
    for line in text.strip().splitlines():
        name, _, rest = line.strip().partition(": ")
        wanted, _, result = rest.partition(" -> ")
        table[name] = (*table.get(name, ()), (tuple(wanted.split()), result))
    return table


def _same(operators: str, kinds: str, result: str = "") -> str:
    return "\n".join(
        f"{operator}: {kind} {kind} -> {result or kind}"
        for operator in operators.split()
        for kind in kinds.split()
    )


OVERLOADS = _table(
    _same("&& ||", "bool")
    + "\n!: bool -> bool\nneg: int -> int\nneg: double -> double\n"
    + _same("< <= >= >", "bool int uint double string bytes timestamp duration", "bool")
    + "\n"
    + _same("+", "int uint double string bytes list duration")
    + """
    +: timestamp duration -> timestamp
    +: duration timestamp -> timestamp
    -: timestamp timestamp -> duration
    -: timestamp duration -> timestamp
    """
    + _same("-", "int uint double duration")
    + "\n"
    + _same("* /", "int uint double")
    + "\n"
    + _same("%", "int uint")
    + """
    in: dyn list -> bool
    in: dyn map -> bool
    index: list int -> dyn
    index: map dyn -> dyn
    select: map string -> dyn
    has: map string -> bool
    size: string -> int
    size: bytes -> int
    size: list -> int
    size: map -> int
    matches: string string -> bool
    """
)
"""Operators, and functions that are methods too."""

FUNCTIONS = _table(
    "\n".join(
        f"{result}: {kind} -> {result}"
        for result, kinds in {
            "int": "int uint double string timestamp",
            "uint": "uint int double string",
            "double": "double int uint string",
            "string": "string bool int uint double bytes timestamp duration",
            "bytes": "bytes string",
            "bool": "bool string",
            "timestamp": "timestamp string int",
            "duration": "duration string",
        }.items()
        for kind in kinds.split()
    )
    + "\ndyn: dyn -> dyn\n"
    + "\n".join(f"math.{name}: int uint double ... -> dyn" for name in ("greatest", "least"))
    + "\n"
    + "\n".join(f"math.{name}: double -> double" for name in ("ceil", "floor", "round", "trunc"))
    + "\n"
    + "\n".join(
        f"math.{name}: {kind} -> {kind}" for name in ("abs", "sign") for kind in ("int", "uint", "double")
    )
    + "\n"
    + "\n".join(f"math.{name}: double -> bool" for name in ("isInf", "isNaN", "isFinite"))
    + "\nmath.greatest: list -> dyn\nmath.least: list -> dyn\nlists.range: int -> list"
)
"""Functions that are no methods."""

GETTERS = (
    "getFullYear", "getMonth", "getDayOfYear", "getDayOfMonth", "getDate", "getDayOfWeek",
    "getHours", "getMinutes", "getSeconds", "getMilliseconds",
)  # fmt: skip
METHODS = _table(
    """
    contains: string string -> bool
    startsWith: string string -> bool
    endsWith: string string -> bool
    charAt: string int -> string
    indexOf: string string -> int
    indexOf: string string int -> int
    lastIndexOf: string string -> int
    lastIndexOf: string string int -> int
    lowerAscii: string -> string
    upperAscii: string -> string
    trim: string -> string
    replace: string string string -> string
    replace: string string string int -> string
    split: string string -> list
    split: string string int -> list
    substring: string int -> string
    substring: string int int -> string
    reverse: string -> string
    reverse: list -> list
    join: list -> string
    join: list string -> string
    slice: list int int -> list
    distinct: list -> list
    sort: list -> list
    """
    + "\n".join(f"{name}: timestamp -> int\n{name}: timestamp string -> int" for name in GETTERS)
    + "\n"
    + "\n".join(
        f"{name}: duration -> int" for name in ("getHours", "getMinutes", "getSeconds", "getMilliseconds")
    )
)
"""Methods that are no functions."""

KNOWN_ELSEWHERE = frozenset(
    (
        "type", "format", "strings.quote", "flatten", "first", "last", "sortBy", "math.bitAnd", "math.bitOr",
        "math.bitXor", "math.bitNot", "math.bitShiftLeft", "math.bitShiftRight", "math.sqrt", "base64.encode",
        "base64.decode",
    )
)  # fmt: skip
"""Functions of cel-go that are refused by name."""
