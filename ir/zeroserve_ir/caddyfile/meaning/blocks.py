"""Blocks whose lines are fields of one of Caddy's JSON objects, read by a table.

In: the segments of a block, and for each name the place in the object with a reader of its value. Out: the
object, zero values left out as Go's `omitempty` does. Used by whatever is carried as Caddy's JSON: loggers,
issuers, client authentication, options of servers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.reading import (
    PRIVATE_RANGES,
    Reading,
    duration_ns,
    integer,
    no_arguments,
    refusal,
    refuse_block,
    size_bytes,
    texts,
    wrong_count,
)
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree_carried import Json

Reader = Callable[[Segment, Reading], Any]


@dataclass(frozen=True, slots=True)
class Field:
    """Where a line's value goes: keys from the outside in, and how it is read."""

    path: str
    read: Reader
    append: bool = False
    """Whether further lines add to the list."""
    keep_zero: bool = False
    """Whether a zero value is written: a pointer in Go."""
    once: bool = False
    """Whether a second line is refused."""


def read_fields(
    segments: Iterable[Segment],
    fields: Mapping[str, Field],
    owner: str,
    reading: Reading,
    into: Json | None = None,
) -> Json:
    """Read the lines of a block into an object; a line without a row is ZS0109."""
    found: Json = {} if into is None else into
    seen: set[str] = set()
    for segment in segments:
        name = segment.name.text
        field = fields.get(name)
        if field is None:
            cure = f"write one of {', '.join(fields)}" if fields else "remove it"
            raise refusal(Code.ZS0109, f"unknown subdirective {name} of {owner}", segment.name, cure)
        if field.once and name in seen:
            raise refusal(Code.ZS0103, f"{name} stands twice in {owner}", segment.name, "remove one of them")
        seen.add(name)
        value = field.read(segment, reading)
        if field.append:
            value = [*get_path(found, field.path, []), *value]
        if field.keep_zero or value not in ("", 0, None, [], {}) or value is True:
            put_path(found, field.path, value)
        else:
            make_parents(found, field.path)
    return found


def get_path(target: Json, path: str, default: Any = None) -> Any:
    """Return the value under dotted keys, or `default`."""
    value: Any = target
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return default
        value = value[key]
    return value


def put_path(target: Json, path: str, value: Any) -> None:
    """Set the value under dotted keys."""
    make_parents(target, path)[path.rpartition(".")[2]] = value


def make_parents(target: Json, path: str) -> Json:
    """Return the object that holds the last key of dotted keys; made where it is missing."""
    for key in path.split(".")[:-1]:
        target = target.setdefault(key, {})
    return target


# Readers of one line


def read_flag(segment: Segment, _: Reading) -> bool:
    """A name alone: true."""
    no_arguments(segment)
    return True


def read_off(segment: Segment, _: Reading) -> bool:
    """A name alone that clears a default: false."""
    no_arguments(segment)
    return False


def only(segment: Segment) -> Token:
    """Return the one argument of a line without block."""
    if len(segment.arguments) != 1:
        raise wrong_count(segment, f"{segment.name.text} VALUE")
    refuse_block(segment)
    return segment.arguments[0]


def read_text(segment: Segment, _: Reading) -> str:
    """One argument as it is."""
    return only(segment).text


def read_texts(segment: Segment, _: Reading) -> list[str]:
    """Any number of arguments."""
    refuse_block(segment)
    return list(texts(segment.arguments))


def read_some_texts(segment: Segment, reading: Reading) -> list[str]:
    """One argument or more."""
    if not segment.arguments:
        raise wrong_count(segment, f"{segment.name.text} VALUE …")
    return read_texts(segment, reading)


def read_duration(segment: Segment, _: Reading) -> int:
    """A duration in nanoseconds."""
    return duration_ns(only(segment))


def read_timeout(segment: Segment, _: Reading) -> int:
    """A duration in nanoseconds, or -1 for none."""
    token = only(segment)
    return -1 if token.text == "-1" else duration_ns(token)


def read_integer(segment: Segment, _: Reading) -> int:
    """A whole number."""
    return integer(only(segment))


def read_size(segment: Segment, _: Reading) -> int:
    """A size in bytes."""
    return size_bytes(only(segment))


def read_ratio(segment: Segment, _: Reading) -> float:
    """A number between 0 and 1."""
    return ratio(only(segment))


def ratio(token: Token) -> float:
    """Return a number between 0 and 1, both excluded."""
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", token.text):
        raise refusal(Code.ZS0103, f"{token.text!r} is not a number", token, "write for example 0.33")
    number = float(token.text)
    if not 0 < number < 1:
        raise refusal(Code.ZS0103, f"{token.text} is not between 0 and 1", token, "write for example 0.33")
    return number


def read_ranges_unchecked(segment: Segment, _: Reading) -> list[str]:
    """Ranges of addresses with `private_ranges` written out; judged by whoever uses them."""
    ranges: list[str] = []
    for token in segment.arguments:
        ranges += PRIVATE_RANGES if token.text == "private_ranges" else (token.text,)
    return ranges


def in_block(fields: Mapping[str, Field]) -> Reader:
    """Return the reader of a block of fields without arguments."""

    def read(segment: Segment, reading: Reading) -> Json:
        if segment.arguments:
            raise wrong_count(segment, f"{segment.name.text} {{ … }}")
        return read_fields(segment.block or (), fields, segment.name.text, reading)

    return read


Module = Callable[[Segment, Reading], Json]
"""Reads a module's own line (its name stands where a directive's does) into its object."""


def read_module(modules: Mapping[str, Module], key: str, kind: str) -> Module:
    """Return the reader of `NAME MODULE [ARGUMENTS] { … }`: the module's object, its name under `key`."""

    read_line = read_own_module(modules, key, kind)

    def read(segment: Segment, reading: Reading) -> Json:
        if not segment.arguments:
            raise wrong_count(segment, f"{segment.name.text} MODULE")
        inner = Segment(segment.arguments[0], segment.arguments[1:], segment.block)
        return read_line(inner, reading)

    return read


def read_own_module(modules: Mapping[str, Module], key: str, kind: str) -> Module:
    """Return the reader of a line that begins with the module's name."""

    def read(segment: Segment, reading: Reading) -> Json:
        name = segment.name.text
        module = modules.get(name)
        if module is None:
            cure = (
                f"write one of {', '.join(modules)}"
                if modules
                else "remove it: all of them are plugins of Caddy"
            )
            raise refusal(Code.ZS0109, f"unknown {kind} {name}", segment.name, cure)
        return {key: name, **module(segment, reading)}

    return read


def plain_module(fields: Mapping[str, Field] | None = None) -> Module:
    """Return the reader of a module without arguments."""

    def read(segment: Segment, reading: Reading) -> Json:
        if segment.arguments:
            raise wrong_count(segment, segment.name.text)
        if fields is None:
            refuse_block(segment)
        return read_fields(segment.block or (), fields or {}, segment.name.text, reading)

    return read


def listed(read: Reader) -> Reader:
    """Return a reader whose one value is a list's only item, for fields that append."""
    return lambda segment, reading: [read(segment, reading)]
