"""`dynamic`: upstreams by DNS (reverseproxy/upstreams.go).

In: the segment of `dynamic`. Out: an `UpstreamSource`. Called by `proxying`.
"""

from __future__ import annotations

from dataclasses import replace

from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    duration_ms,
    only_argument,
    refusal,
    some_arguments,
    texts,
    wrong_count,
)
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree import SourceKind, UpstreamSource

_DURATIONS = {
    "refresh": "refresh_ms",
    "dial_timeout": "dial_timeout_ms",
    "dial_fallback_delay": "dial_fallback_delay_ms",
    "grace_period": "grace_period_ms",
}
_ONCE = {SourceKind.A: ("name", "port"), SourceKind.SRV: ("name", "service", "proto")}
_ALSO = {SourceKind.A: ("versions",), SourceKind.SRV: ("grace_period",)}
_VERSIONS = ("ipv4", "ipv6")


def read_source(segment: Segment, reading: Reading) -> UpstreamSource:
    """Read the source whose kind and arguments follow the segment's own name."""
    if not segment.arguments:
        raise wrong_count(segment, "dynamic a|srv|multi …")
    name, *arguments = segment.arguments
    inner = Segment(name, tuple(arguments), segment.block)
    match name.text:
        case "a":
            source = _read_arguments(SourceKind.A, inner, "a [NAME [PORT]]", 2)
        case "srv":
            source = _read_arguments(SourceKind.SRV, inner, "srv [NAME]", 1)
        case "multi":
            return _read_multi(inner, reading)
        case _:
            cure = "write dynamic a, dynamic srv or dynamic multi"
            raise refusal(Code.ZS0110, f"source {name.text} of upstreams is not known", name, cure)
    for line in inner.block or ():
        with reading.collect():
            source = _read_line(source, line)
    _refuse_placeholders(source, inner)
    return source


def _refuse_placeholders(source: UpstreamSource, inner: Segment) -> None:
    for text in (source.name, source.port, source.service, source.proto):
        if "{" in text:
            message = f"{text} of dynamic {source.kind.value} differs by request"
            raise refusal(Code.ZS0110, message, inner.name, "write the name to resolve")


def _read_arguments(kind: SourceKind, inner: Segment, usage: str, count: int) -> UpstreamSource:
    if len(inner.arguments) > count:
        raise wrong_count(inner, usage)
    name, port = ([token.text for token in inner.arguments] + ["", ""])[:2]
    return UpstreamSource(kind, name=name, port=port)


def _read_multi(inner: Segment, reading: Reading) -> UpstreamSource:
    if inner.arguments:
        raise wrong_count(inner, "multi { … }")
    sources = []
    for line in inner.block or ():
        with reading.collect():
            sources.append(read_source(Segment(line.name, (line.name, *line.arguments), line.block), reading))
    return UpstreamSource(SourceKind.MULTI, sources=tuple(sources))


def _read_line(source: UpstreamSource, line: Segment) -> UpstreamSource:
    name = line.name.text
    if name in _ONCE[source.kind]:
        if getattr(source, name):
            raise refusal(Code.ZS0103, f"{name} stands twice", line.name, "remove one")
        return replace(source, **{name: only_argument(line, f"{name} VALUE").text})  # type: ignore[arg-type]
    if name == "resolvers":
        return replace(source, resolvers=texts(some_arguments(line, "resolvers ADDRESS …")))
    if name == "versions" and name in _ALSO[source.kind]:
        tokens = some_arguments(line, "versions ipv4|ipv6")
        for token in tokens:
            if token.text not in _VERSIONS:
                cure = "write ipv4 or ipv6"
                raise refusal(Code.ZS0103, f"unknown version {token.text!r} of IP", token, cure)
        return replace(source, versions=tuple(sorted({*source.versions, *texts(tokens)})))
    if name in _DURATIONS and (name != "grace_period" or name in _ALSO[source.kind]):
        duration = duration_ms(only_argument(line, f"{name} DURATION"))
        return replace(source, **{_DURATIONS[name]: duration})  # type: ignore[arg-type]
    message = f"unknown option {name} of dynamic {source.kind.value}"
    raise refusal(Code.ZS0109, message, line.name, "check the spelling")
