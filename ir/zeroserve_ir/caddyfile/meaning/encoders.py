"""`encode` and the matcher of answers (encode/caddyfile.go, caddyhttp/responsematchers.go).

In: segments without the request's matcher. Out: `Encode`, `ResponseMatcher`. For `directives`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.matchers import read_header_fields
from zeroserve_ir.caddyfile.meaning.profiles import Kind, check
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    integer,
    no_arguments,
    only_argument,
    refusal,
    some_arguments,
    take_value,
    wrong_count,
)
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree_encode import Encode, Encoder, ResponseMatcher

DEFAULT_ENCODERS = ("zstd", "gzip")
ZSTD_LEVELS = ("fastest", "default", "better", "best")
_LEVELS = {"gzip": (-3, 9), "br": (0, 11)}


def read_encode(segment: Segment, reading: Reading) -> Encode:
    """`encode [<formats…>] { gzip [<level>]; zstd …; br [<level>]; minimum_length <n>; match … }`."""
    encoders: list[tuple[Token, Encoder]] = []
    length, matcher = 0, None
    for inner in segment.block or ():
        with reading.collect():
            name = inner.name.text
            check(reading, Kind.SUBDIRECTIVE, name, inner.name, "encode")
            if name == "minimum_length":
                length = integer(only_argument(inner, "minimum_length BYTES"))
            elif name == "match":
                if matcher is not None:
                    raise refusal(Code.ZS0105, "match stands twice in encode", inner.name, "join them")
                matcher = read_response_matcher(inner)
            else:
                encoders.append((inner.name, _read_encoder(inner, reading)))
    for token in segment.arguments:
        check(reading, Kind.SUBDIRECTIVE, token.text, token, "encode")
        if token.text in ("minimum_length", "match"):
            raise refusal(Code.ZS0103, f"{token.text} is no format", token, "write it in the block")
        encoders.append((token, Encoder(token.text)))
    found = tuple(encoder for _, encoder in encoders) or tuple(map(Encoder, DEFAULT_ENCODERS))
    for index, (token, encoder) in enumerate(encoders):
        if any(encoder.name == before.name for _, before in encoders[:index]):
            raise refusal(Code.ZS0103, f"format {encoder.name} stands twice", token, "keep one of them")
    return Encode(found, length, matcher)


def _read_encoder(inner: Segment, reading: Reading) -> Encoder:
    if inner.name.text == "zstd":
        return _read_zstd(inner)
    inner = take_value(inner, reading)
    if not inner.arguments:
        no_arguments(inner)
        return Encoder(inner.name.text)
    least, most = _LEVELS[inner.name.text]
    token = only_argument(inner, f"{inner.name.text} LEVEL")
    if not least <= integer(token) <= most:
        cure = f"write a level from {least} to {most}"
        raise refusal(Code.ZS0103, f"{token.text} is no level of {inner.name.text}", token, cure)
    # Caddy's JSON leaves out 0, which is the default.
    level = integer(token)
    return Encoder(inner.name.text, str(level) if level else "")


def _read_zstd(inner: Segment) -> Encoder:
    levels = list(inner.arguments)
    checksum = True
    for one in inner.block or ():
        if one.name.text == "level":
            levels.append(only_argument(Segment(one.name, one.arguments, one.block), "level WORD"))
        elif one.name.text == "disable_checksum":
            no_arguments(one)
            if not checksum:
                raise refusal(Code.ZS0103, "disable_checksum stands twice", one.name, "remove one")
            checksum = False
        else:
            cure = "write level or disable_checksum"
            raise refusal(Code.ZS0109, f"unknown subdirective {one.name.text} of zstd", one.name, cure)
    if len(levels) > 1:
        raise refusal(Code.ZS0103, "the level stands twice", levels[1], "keep one of them")
    for token in levels:
        if token.text.lower() not in ZSTD_LEVELS:
            cure = f"write {', '.join(ZSTD_LEVELS[:-1])} or {ZSTD_LEVELS[-1]}"
            raise refusal(Code.ZS0103, f"{token.text!r} is no level of zstd", token, cure)
    return Encoder("zstd", levels[0].text if levels else "", checksum)


def read_response_matcher(segment: Segment) -> ResponseMatcher:
    """`NAME [header <field> [<value>]] | [status <code…>] { … }`."""
    lines: list[Segment] = list(segment.block or ())
    if segment.arguments:
        lines.insert(0, Segment(segment.arguments[0], segment.arguments[1:], None))
    statuses: tuple[int, ...] | None = None
    headers: list[Segment] = []
    for line in lines:
        match line.name.text:
            case "header":
                headers.append(line)
            case "status":
                found = some_arguments(line, "status CODE …")
                statuses = (statuses or ()) + tuple(map(_read_status, found))
            case name:
                cure = "write header or status"
                raise refusal(Code.ZS0109, f"unknown matcher of answers {name}", line.name, cure)
    return ResponseMatcher(statuses, _read_fields(headers) if headers else None)


def _read_fields(lines: Sequence[Segment]) -> tuple[tuple[str, tuple[str, ...] | None], ...]:
    for line in lines:
        if line.block:
            raise wrong_count(line, "header FIELD VALUE, or header !FIELD")
    return read_header_fields(list(lines)).fields


def _read_status(token: Token) -> int:
    text = token.text
    if len(text) == 3 and text.endswith("xx"):
        text = text[:1]
    if not re.fullmatch(r"\d+", text):
        raise refusal(Code.ZS0103, f"{token.text!r} is no status", token, "write for example 404 or 4xx")
    return int(text)
