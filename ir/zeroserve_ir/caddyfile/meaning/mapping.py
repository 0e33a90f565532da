"""Directives about what is known of a request: map, log_append, log_skip, log_name, tracing.

Each reader takes the segment without its matcher and returns the handler. Syntax: caddyhttp/map/caddyfile.go,
caddyhttp/logging/caddyfile.go, httpcaddyfile/builtins.go, caddyhttp/tracing/module.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.matchers import check_regexp
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    no_arguments,
    no_more_arguments,
    only_argument,
    refusal,
    refuse_block,
    texts,
    wrong_count,
)
from zeroserve_ir.caddyfile.meaning.responding import is_literal
from zeroserve_ir.caddyfile.meaning.shorthands import SHORTHANDS
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree import AppendLog, Mapping, MapValues, NameLoggers, SetVariables, Trace


def read_map(segment: Segment, _: Reading) -> MapValues:
    """`map <source> <destinations...> { [~]<input> <outputs...>, default <outputs...> }`."""
    if len(segment.arguments) < 2:
        raise wrong_count(segment, "map SOURCE {DESTINATION} … { … }")
    source, *destinations = segment.arguments
    for destination in destinations:
        _check_destination(destination)
    mappings: list[Mapping] = []
    defaults: tuple[str, ...] | None = None
    inputs: set[str] = set()
    for inner in segment.block or ():
        if len(inner.arguments) > len(destinations):
            message = f"{len(inner.arguments)} outputs for {len(destinations)} destinations"
            raise refusal(Code.ZS0102, message, inner.name, "write one output for each destination")
        refuse_block(inner)
        if inner.name.text == "default":
            if defaults:
                raise refusal(Code.ZS0105, "map has two defaults", inner.name, "remove one")
            missing = ("",) * (len(destinations) - len(inner.arguments))
            defaults = texts(inner.arguments) + missing
            continue
        mapping = _read_mapping(inner, len(destinations))
        if mapping.input in inputs:
            raise refusal(Code.ZS0105, f"input {mapping.input!r} stands twice", inner.name, "remove one")
        inputs.add(mapping.input)
        mappings.append(mapping)
    return MapValues(source.text, texts(destinations), tuple(mappings), defaults or ())


def find_destinations(segments: Sequence[Segment]) -> set[str]:
    """Return the placeholders, without braces, that `map` defines at any depth."""
    found: set[str] = set()
    for segment in segments:
        if segment.name.text == "map":
            found |= {token.text[1:-1] for token in segment.arguments if token.text.startswith("{")}
        found |= find_destinations(segment.block or ())
    return {name for name in found if name not in SHORTHANDS.values()}


def _check_destination(token: Token) -> None:
    name = token.text
    if not (name.startswith("{") and name.count("{") == 1 and name.endswith("}") and len(name) > 2):
        raise refusal(Code.ZS0103, f"destination {name!r} is no placeholder", token, f"write {{{name}}}")
    if name[1:-1] in SHORTHANDS.values():
        cure = "choose another name"
        raise refusal(Code.ZS0103, f"destination {name} is a placeholder of Caddy", token, cure)


def _read_mapping(line: Segment, count: int) -> Mapping:
    outputs: list[str | None] = [None if token.text == "-" else token.text for token in line.arguments]
    literals = tuple(
        index
        for index, token in enumerate(line.arguments)
        if not token.quoted and token.text != "-" and is_literal(token.text)
    )
    outputs += [None] * (count - len(outputs))
    text = line.name.text
    if text.startswith("~"):
        pattern = check_regexp(line.name.with_text(text[1:]))
        return Mapping(pattern, tuple(outputs), regexp=True, literals=literals)
    return Mapping(text, tuple(outputs), literals=literals)


def read_log_append(segment: Segment, reading: Reading) -> AppendLog:
    """`log_append [<]<key> <value>`."""
    if len(segment.arguments) < 2:
        raise wrong_count(segment, "log_append [<]KEY VALUE")
    reading.leave_out(segment.arguments[2:], "log_append")
    refuse_block(segment)
    key, value = texts(segment.arguments[:2])
    early = key.startswith("<") and len(key) > 1
    return AppendLog(key[1:] if early else key, value, early)


def read_log_skip(segment: Segment, _: Reading) -> SetVariables:
    """`log_skip`."""
    no_arguments(segment)
    return SetVariables((("log_skip", "true"),), ("log_skip",))


def read_log_name(segment: Segment, _: Reading) -> NameLoggers:
    """`log_name <names...>`."""
    refuse_block(segment)
    return NameLoggers(texts(segment.arguments))


def read_tracing(segment: Segment, reading: Reading) -> Trace:
    """`tracing { span NAME; span_attributes { NAME VALUE } }`."""
    if segment.arguments:
        raise wrong_count(segment, "tracing { span NAME }")
    span = ""
    attributes: dict[str, str] = {}
    for inner in segment.block or ():
        if inner.name.text == "span":
            span = only_argument(inner, "span NAME").text
        elif inner.name.text == "span_attributes":
            no_more_arguments(inner)
            for line in inner.block or ():
                attributes[line.name.text] = only_argument(line, "NAME VALUE").text
        else:
            message = f"unknown subdirective {inner.name.text} of tracing"
            raise refusal(Code.ZS0109, message, inner.name, "write span or span_attributes")
    return Trace(span, tuple(sorted(attributes.items())))
