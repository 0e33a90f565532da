"""Health of upstreams: `health_*`, and what is passive (reverseproxy/healthchecks.go).

In: one line of the block of `reverse_proxy`. Out: the health value with that line in it. Who calls:
`proxying`.
"""

from __future__ import annotations

from dataclasses import replace

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.matchers import check_regexp
from zeroserve_ir.caddyfile.meaning.reading import (
    duration_ms,
    integer,
    no_arguments,
    only_argument,
    port,
    refusal,
    refuse_block,
    some_arguments,
    texts,
)
from zeroserve_ir.caddyfile.meaning.upstreams import split_host_port
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree import ActiveHealth, PassiveHealth

_TEXTS = {
    "health_uri": "uri",
    "health_path": "path",
    "health_method": "method",
    "health_request_body": "body",
}
_DURATIONS = {"health_interval": "interval_ms", "health_timeout": "timeout_ms"}
_COUNTS = {"health_passes": "passes", "health_fails": "fails"}
PASSIVE = frozenset(
    ("fail_duration", "max_fails", "unhealthy_status", "unhealthy_latency", "unhealthy_request_count")
)


def read_active(health: ActiveHealth, inner: Segment) -> ActiveHealth:
    """Read one `health_*` line."""
    name = inner.name.text
    if name == "health_headers":
        return replace(health, headers=health.headers + _read_headers(inner))
    if name == "health_follow_redirects":
        no_arguments(inner)
        return replace(health, follow_redirects=True)
    token = only_argument(inner, f"{name} VALUE")
    if name in _TEXTS:
        return replace(health, **{_TEXTS[name]: token.text})  # type: ignore[arg-type]
    if name in _DURATIONS:
        return replace(health, **{_DURATIONS[name]: duration_ms(token)})  # type: ignore[arg-type]
    if name in _COUNTS:
        return replace(health, **{_COUNTS[name]: integer(token)})  # type: ignore[arg-type]
    match name:
        case "health_status":
            return replace(health, status=_read_status(token))
        case "health_body":
            return replace(health, body_regexp=check_regexp(token))
        case "health_protocol":
            if token.text not in ("http", "tcp", "grpc"):
                raise refusal(Code.ZS0103, f"no probes by {token.text!r}", token, "write http, tcp or grpc")
            return replace(health, protocol="" if token.text == "http" else token.text)
        case "health_port":
            if health.upstream:
                raise refusal(Code.ZS0103, "health_upstream has a port", token, "remove health_port")
            return replace(health, port=port(token))
        case _:
            if not split_host_port(token.text)[1].isdecimal():
                raise refusal(Code.ZS0103, f"{token.text!r} has no port", token, "write HOST:PORT")
            return replace(health, upstream=token.text)


def read_passive(health: PassiveHealth, inner: Segment) -> PassiveHealth:
    """Read one line of passive health."""
    name = inner.name.text
    if name == "unhealthy_status":
        tokens = some_arguments(inner, "unhealthy_status STATUS …")
        return replace(health, status=health.status + tuple(map(_read_status, tokens)))
    token = only_argument(inner, f"{name} VALUE")
    match name:
        case "fail_duration":
            return replace(health, fail_duration_ms=duration_ms(token))
        case "max_fails":
            return replace(health, max_fails=integer(token))
        case "unhealthy_latency":
            return replace(health, latency_ms=duration_ms(token))
        case _:
            return replace(health, request_count=integer(token))


def _read_status(token: Token) -> int:
    """Return a status, or the first digit of a class such as `5xx`."""
    text = token.text[:1] if len(token.text) == 3 and token.text.endswith("xx") else token.text
    if not text.isdecimal():
        raise refusal(Code.ZS0103, f"{token.text!r} is not a status", token, "write for example 200 or 2xx")
    return int(text)


def _read_headers(inner: Segment) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if inner.arguments:
        raise refusal(Code.ZS0102, "health_headers takes a block", inner.name, "write health_headers { … }")
    for line in inner.block or ():
        refuse_block(line)
    return tuple((line.name.text, texts(line.arguments) or ("",)) for line in inner.block or ())
