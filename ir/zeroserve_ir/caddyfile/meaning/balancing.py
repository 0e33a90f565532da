"""`lb_policy` and its fallback (reverseproxy/selectionpolicies.go).

In: the segment that names a policy. Out: a `SelectionPolicy`. Called by `proxying`.
"""

from __future__ import annotations

from dataclasses import replace

from zeroserve_ir.caddyfile.meaning.profiles import Kind, check
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    duration_ms,
    integer,
    only_argument,
    refusal,
    refuse_block,
    take_arguments,
    without_empty_block,
    wrong_count,
)
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree import Selection, SelectionPolicy

_KEYED = {Selection.QUERY, Selection.HEADER, Selection.COOKIE}
CHOOSE_MIN = 2
WEIGHT_MAX = 1 << 16


def read_policy(segment: Segment, reading: Reading) -> SelectionPolicy:
    """Read the policy whose name and arguments follow the segment's own name."""
    if not segment.arguments:
        raise wrong_count(segment, f"{segment.name.text} POLICY")
    name, *arguments = segment.arguments
    check(reading, Kind.SUBDIRECTIVE, name.text, name, "lb_policy")
    inner = Segment(name, tuple(arguments), segment.block)
    selection = Selection(name.text)
    if selection in _KEYED:
        return _read_keyed(selection, inner, reading)
    inner = without_empty_block(inner)
    refuse_block(inner)
    match selection:
        case Selection.RANDOM_CHOOSE:
            token = only_argument(take_arguments(inner, 1, reading), "random_choose NUMBER")
            choose = integer(token)
            if choose < CHOOSE_MIN:
                raise refusal(Code.ZS0103, "random_choose compares two at least", token, "write 2 or more")
            return SelectionPolicy(selection, choose=choose)
        case Selection.WEIGHTED_ROUND_ROBIN:
            return SelectionPolicy(selection, weights=_read_weights(inner))
        case _:
            if arguments:
                raise wrong_count(inner, name.text)
            return SelectionPolicy(selection)


def _read_weights(inner: Segment) -> tuple[int, ...]:
    if not inner.arguments:
        raise wrong_count(inner, "weighted_round_robin WEIGHT …")
    weights = tuple(integer(token) for token in inner.arguments)
    for token, weight in zip(inner.arguments, weights, strict=True):
        if not 0 <= weight <= WEIGHT_MAX:
            cure = f"write a weight from 0 to {WEIGHT_MAX}"
            raise refusal(Code.ZS0103, f"{token.text} is no weight", token, cure)
    if not any(weights):
        raise refusal(Code.ZS0103, "all weights are 0", inner.name, "give one upstream a weight above 0")
    return weights


def _read_keyed(selection: Selection, inner: Segment, reading: Reading) -> SelectionPolicy:
    policy = SelectionPolicy(selection)
    arguments = inner.arguments
    if selection is Selection.COOKIE:
        if len(arguments) > 2:
            raise wrong_count(inner, "cookie [NAME [SECRET]]")
        key, secret = ([token.text for token in arguments] + ["", ""])[:2]
        policy = replace(policy, key=key, secret=secret)
    else:
        if len(arguments) > 1:
            inner = take_arguments(inner, 1, reading)._replace(block=None)
        if not arguments or not arguments[0].text:
            raise wrong_count(inner, f"{selection.value} NAME")
        policy = replace(policy, key=arguments[0].text)
    for line in inner.block or ():
        with reading.collect():
            policy = _read_option(policy, line, reading)
    return policy


def _read_option(policy: SelectionPolicy, line: Segment, reading: Reading) -> SelectionPolicy:
    if line.name.text == "fallback":
        if policy.fallback is not None:
            raise refusal(Code.ZS0103, "fallback stands twice", line.name, "remove one")
        return replace(policy, fallback=read_policy(line, reading))
    if line.name.text == "max_age" and policy.selection is Selection.COOKIE:
        token = only_argument(line, "max_age DURATION")
        if policy.max_age_ms or (max_age := duration_ms(token)) <= 0:
            raise refusal(Code.ZS0103, "max_age is positive and stands once", token, "write for example 1h")
        return replace(policy, max_age_ms=max_age)
    known = "fallback or max_age" if policy.selection is Selection.COOKIE else "fallback"
    message = f"unknown option {line.name.text} of lb_policy {policy.selection.value}"
    raise refusal(Code.ZS0109, message, line.name, f"write {known}")
