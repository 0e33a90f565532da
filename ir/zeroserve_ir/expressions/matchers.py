"""Caddy's matchers as functions of CEL: path(), host(), header() and the like, as matchers of the tree.

In: a function's name and its arguments, texts that may join constants and placeholders. Out: a `Match` node.
Called by the parser, as Caddy has them as macros. Signatures: caddyhttp/matchers.go, CELLibrary.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from zeroserve_ir import tree
from zeroserve_ir.expressions.nodes import Call, ExpressionError, Literal, Match, Node, Placeholder
from zeroserve_ir.regular_expressions import PatternError, check_pattern
from zeroserve_ir.tree_files import MatchFile, TryPolicy

_Arguments = tuple[Node, ...]
_Builder = Callable[[_Arguments, str, int], tree.Matcher]


def build_matcher(function: str, arguments: _Arguments, name: str, offset: int) -> Match:
    """Return the matcher of a function; `name` is that of a regular expression without one."""
    return Match(MATCHERS[function](arguments, name, offset), offset)


def text_of(node: Node) -> str | None:
    """Return a text with its placeholders in braces, or None for what is no text."""
    match node:
        case Literal(str(value)):
            return value
        case Placeholder(name):
            return f"{{{name}}}"
        case Call("+", (left, right)):
            first, second = text_of(left), text_of(right)
            return None if first is None or second is None else first + second
        case _:
            return None


def _text(node: Node, offset: int) -> str:
    text = text_of(node)
    if text is None:
        raise ExpressionError("matchers take constant texts", offset, "write 'text' or {placeholder}")
    return text


def _constant(node: Node, offset: int) -> str:
    if not isinstance(node, Literal):
        raise ExpressionError("this argument is a constant text", offset, "write it without placeholders")
    return _text(node, offset)


def _texts(arguments: _Arguments, offset: int) -> tuple[str, ...]:
    if not arguments:
        raise ExpressionError("the matcher needs an argument", offset)
    return tuple(_text(argument, offset) for argument in arguments)


def _only(arguments: _Arguments, offset: int) -> Node:
    if len(arguments) != 1:
        raise ExpressionError(f"the matcher takes one argument, not {len(arguments)}", offset)
    return arguments[0]


def _pairs(arguments: _Arguments, offset: int) -> tuple[tuple[str, tuple[str, ...]], ...]:
    node = _only(arguments, offset)
    if not isinstance(node, Call) or node.function != "map":
        raise ExpressionError("the matcher takes a map", offset, "write {'name': 'value'}")
    pairs: dict[str, tuple[str, ...]] = {}
    for key, value in zip(node.operands[::2], node.operands[1::2], strict=True):
        items = value.operands if isinstance(value, Call) and value.function == "list" else (value,)
        pairs[_text(key, offset)] = tuple(_text(item, offset) for item in items)
    return tuple(sorted(pairs.items()))


def _pattern(node: Node, offset: int) -> str:
    pattern = _constant(node, offset)
    require_pattern(pattern, offset)
    return pattern


def require_pattern(pattern: str, offset: int) -> None:
    """Refuse what the engine does not take."""
    try:
        check_pattern(pattern)
    except PatternError as error:
        raise ExpressionError(f"invalid regular expression: {error}", offset, error.cure) from None


def _named(arguments: _Arguments, name: str, offset: int, count: int) -> tuple[str, _Arguments]:
    """Return the name of a regular expression and the `count` arguments after it."""
    if len(arguments) not in (count, count + 1):
        raise ExpressionError(f"the matcher takes {count} or {count + 1} arguments", offset)
    given = _constant(arguments[0], offset) if len(arguments) > count else ""
    return given or name, arguments[-count:]


def _path_regexp(arguments: _Arguments, name: str, offset: int) -> tree.Matcher:
    name, (pattern,) = _named(arguments, name, offset, 1)
    return tree.MatchPathRegexp(_pattern(pattern, offset), name)


def _header_regexp(arguments: _Arguments, name: str, offset: int) -> tree.Matcher:
    name, (field, pattern) = _named(arguments, name, offset, 2)
    return tree.MatchHeaderRegexp(_constant(field, offset), _pattern(pattern, offset), name)


def _vars_regexp(arguments: _Arguments, name: str, offset: int) -> tree.Matcher:
    name, (subject, pattern) = _named(arguments, name, offset, 2)
    return tree.MatchVarsRegexp(_constant(subject, offset), _pattern(pattern, offset), name)


def _ranges(arguments: _Arguments, offset: int) -> tuple[str, ...]:
    found: list[str] = []
    for argument in arguments or (Literal(""),):
        text = _constant(argument, offset)
        try:
            ipaddress.ip_network(text.partition("%")[0], strict=False)
        except ValueError:
            raise ExpressionError(f"{text!r} is neither an address nor a range", offset) from None
        found.append(text)
    return tuple(found)


def _file(arguments: _Arguments, _: str, offset: int) -> tree.Matcher:
    if not (len(arguments) == 1 and isinstance(arguments[0], Call) and arguments[0].function == "map"):
        return MatchFile(tuple(_text(argument, offset) for argument in arguments))
    pairs = dict(_pairs(arguments, offset))
    unknown = sorted(pairs.keys() - {"root", "try_files", "try_policy", "split_path"})
    if unknown:
        raise ExpressionError(
            f"file has no {unknown[0]}", offset, "write root, try_files, try_policy, split_path"
        )
    policy = pairs.get("try_policy", ("",))[0]
    if policy not in {one.value for one in TryPolicy}:
        raise ExpressionError(f"unknown try_policy {policy!r}", offset)
    root = pairs.get("root", ("",))[0]
    return MatchFile(pairs.get("try_files", ()), root, TryPolicy(policy), pairs.get("split_path", ()))


MATCHERS: dict[str, _Builder] = {
    "client_ip": lambda arguments, _, offset: tree.MatchClientIp(_ranges(arguments, offset)),
    "file": _file,
    "header": lambda arguments, _, offset: tree.MatchHeader(_pairs(arguments, offset)),
    "header_regexp": _header_regexp,
    "host": lambda arguments, _, offset: tree.MatchHost(_texts(arguments, offset)),
    "method": lambda arguments, _, offset: tree.MatchMethod(_texts(arguments, offset)),
    "path": lambda arguments, _, offset: tree.MatchPath(_texts(arguments, offset)),
    "path_regexp": _path_regexp,
    "protocol": lambda arguments, _, offset: tree.MatchProtocol(_constant(_only(arguments, offset), offset)),
    "query": lambda arguments, _, offset: tree.MatchQuery(_pairs(arguments, offset)),
    "remote_ip": lambda arguments, _, offset: tree.MatchRemoteIp(_ranges(arguments, offset)),
    "vars": lambda arguments, _, offset: tree.MatchVars(_pairs(arguments, offset)),
    "vars_regexp": _vars_regexp,
}
"""The functions by name."""
