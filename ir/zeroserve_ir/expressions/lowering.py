"""Checked expressions -> matchers of the tree where they are nothing else, or rows that the engine evaluates.

In: nodes from `checking`. Out: matcher sets, or the `Expression` message: nodes in postorder.
Called by the program's lowering.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.expressions.nodes import (
    Call,
    Identifier,
    Literal,
    Macro,
    Match,
    Node,
    Placeholder,
    Unsigned,
)

Rows = Callable[[tree.Matcher], tuple[Sequence[tuple[int, int]], bool]]
"""Adds the rows of a matcher: (helper's number, row) each, and whether one of them is enough."""


def as_matcher_sets(node: Node) -> tuple[tree.MatcherSet, ...] | None:
    """Return the sets of which one applies where the expression holds; None where it has values."""
    match node:
        case Literal(True):
            return ((),)
        case Literal(False):
            return ()
        case Match(matcher):
            return ((matcher,),)
        case Call("!", (inner,)):
            sets = as_matcher_sets(inner)
            return None if sets is None else ((tree.MatchNot(sets),),)
        case Call("&&" | "||" as operator, (left, right)):
            first, second = as_matcher_sets(left), as_matcher_sets(right)
            if first is None or second is None:
                return None
            if operator == "||":
                return (*first, *second)
            return ((*_joined(first), *_joined(second)),)
        case _:
            return None


def _joined(sets: tuple[tree.MatcherSet, ...]) -> tree.MatcherSet:
    """Return one set; of several `vars_regexp` in one set any would be enough, so they stand alone."""
    if len(sets) == 1 and not any(isinstance(one, tree.MatchVarsRegexp) for one in sets[0]):
        return sets[0]
    return (tree.MatchNot(((tree.MatchNot(sets),),)),)


def encode_expression(node: Node, add_rows: Rows) -> pb.Expression:
    """Return the message of an expression."""
    expression = pb.Expression()
    _encode(node, expression, add_rows)
    return expression


def _encode(node: Node, expression: pb.Expression, add_rows: Rows) -> int:
    """Append a node after what it uses; returns its position."""
    encoded = pb.ExpressionNode()
    match node:
        case Literal(value):
            _set_literal(encoded, value)
        case Placeholder(name):
            encoded.placeholder = name
        case Identifier(name):
            encoded.variable = name
        case Match(matcher):
            return _encode_match(matcher, expression, add_rows)
        case Call(function, operands):
            encoded.call.function = function
            encoded.call.operands.extend(_encode(one, expression, add_rows) for one in operands)
        case Macro(macro, variable, ranged, steps):
            encoded.macro.macro, encoded.macro.variable = macro, variable
            encoded.macro.range = _encode(ranged, expression, add_rows)
            encoded.macro.steps.extend(_encode(one, expression, add_rows) for one in steps)
    return _append(expression, encoded)


def _append(expression: pb.Expression, node: pb.ExpressionNode) -> int:
    expression.nodes.append(node)
    return len(expression.nodes) - 1


def _set_literal(encoded: pb.ExpressionNode, value: object) -> None:
    match value:
        case None:
            encoded.null = True
        case bool():
            encoded.boolean = value
        case int():
            encoded.integer = value
        case Unsigned(number):
            encoded.unsigned = number
        case float():
            encoded.double = value
        case str():
            encoded.text = value
        case bytes():
            encoded.bytes = value


def _encode_match(matcher: tree.Matcher, expression: pb.Expression, add_rows: Rows) -> int:
    rows, any_of = add_rows(matcher)
    operator = "||" if any_of else "&&"
    last: int | None = None
    for helper, row in rows:
        position = _append(expression, pb.ExpressionNode(match=pb.ExpressionMatch(helper=helper, row=row)))
        if last is not None:
            call = pb.ExpressionCall(function=operator, operands=[last, position])
            position = _append(expression, pb.ExpressionNode(call=call))
        last = position
    return _append(expression, pb.ExpressionNode(boolean=True)) if last is None else last
