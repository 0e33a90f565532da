"""`reverse_proxy` and its transport (reverseproxy/caddyfile.go).

In: the segment without its matcher. Out: a `ReverseProxy` of the tree. Subdirectives that the engine
has no counterpart for yet are refused or warned about by the profile table.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.headers import OperationsBuilder
from zeroserve_ir.caddyfile.meaning.matchers import read_ranges
from zeroserve_ir.caddyfile.meaning.profiles import Kind, check
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    duration_ms,
    integer,
    no_arguments,
    only_argument,
    refusal,
    some_arguments,
    texts,
    wrong_count,
)
from zeroserve_ir.caddyfile.meaning.upstreams import read_upstream
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree import (
    HttpTransport,
    ReverseProxy,
    Rewrite,
    Selection,
    Upstream,
    UpstreamTls,
)


@dataclass(slots=True)
class _Builder:
    reading: Reading
    upstreams: list[Upstream] = field(default_factory=list)
    scheme: str | None = None
    transport: HttpTransport | None = None
    up: OperationsBuilder = field(default_factory=OperationsBuilder)
    down: OperationsBuilder = field(default_factory=OperationsBuilder)
    proxy: ReverseProxy = field(default_factory=lambda: ReverseProxy(()))
    seen: set[str] = field(default_factory=set)


def read_reverse_proxy(segment: Segment, reading: Reading) -> ReverseProxy:
    """`reverse_proxy [<upstreams…>] { … }`; every wrong line of the block is reported."""
    builder = _Builder(reading)
    for token in segment.arguments:
        with reading.collect():
            _add_upstream(builder, token)
    for inner in segment.block or ():
        with reading.collect():
            name = inner.name.text
            if name.startswith("@"):
                check(reading, Kind.SUBDIRECTIVE, "handle_response", inner.name, "reverse_proxy")
            if check(reading, Kind.SUBDIRECTIVE, name, inner.name, "reverse_proxy"):
                _read_line(builder, inner)
    if not builder.upstreams and reading.tenancy is not None:
        raise refusal(
            Code.ZS0102, "reverse_proxy has no upstream", segment.name, "write reverse_proxy NAME:PORT"
        )
    return replace(
        builder.proxy,
        upstreams=tuple(builder.upstreams),
        transport=_finish_transport(builder, segment),
        request_headers=builder.up.build(),
        response_headers=builder.down.build(),
    )


def _add_upstream(builder: _Builder, token: Token) -> None:
    scheme, upstreams = read_upstream(token, builder.reading.tenancy)
    # Caddy takes a change from no scheme to one, but not between schemes.
    if builder.scheme and scheme != builder.scheme:
        cure = "write all upstreams with the same scheme"
        message = f"upstreams of one proxy share a scheme, this one is not {builder.scheme}://"
        raise refusal(Code.ZS0103, message, token, cure)
    builder.scheme = scheme
    builder.upstreams += upstreams


def _read_line(builder: _Builder, inner: Segment) -> None:
    name, proxy = inner.name.text, builder.proxy
    match name:
        case "to":
            for token in some_arguments(inner, "to UPSTREAM …"):
                _add_upstream(builder, token)
        case "lb_policy":
            builder.proxy = replace(proxy, selection=_read_selection(builder, inner))
        case "lb_retries":
            builder.proxy = replace(proxy, retries=integer(only_argument(inner, "lb_retries NUMBER")))
        case "lb_try_duration":
            duration = duration_ms(only_argument(inner, "lb_try_duration DURATION"))
            builder.proxy = replace(proxy, try_duration_ms=duration)
        case "lb_try_interval":
            duration = duration_ms(only_argument(inner, "lb_try_interval DURATION"))
            builder.proxy = replace(proxy, try_interval_ms=duration)
        case "flush_interval":
            builder.proxy = replace(proxy, flush_interval_ms=_read_flush(inner))
        case "trusted_proxies":
            ranges = read_ranges(inner.arguments)
            builder.proxy = replace(proxy, trusted_proxies=proxy.trusted_proxies + ranges)
        case "header_up" | "header_down":
            if not 1 <= len(inner.arguments) <= 3:
                raise wrong_count(inner, f"{name} FIELD [VALUE [REPLACEMENT]]")
            target = builder.up if name == "header_up" else builder.down
            target.read(inner.arguments, response=False)
        case "method":
            rewrite = replace(proxy.rewrite or Rewrite(), method=only_argument(inner, "method METHOD").text)
            builder.proxy = replace(proxy, rewrite=rewrite)
        case "rewrite":
            rewrite = replace(proxy.rewrite or Rewrite(), uri=only_argument(inner, "rewrite TO").text)
            builder.proxy = replace(proxy, rewrite=rewrite)
        case _:
            _once(builder, inner)
            builder.transport = _read_transport(builder, inner)


def _once(builder: _Builder, inner: Segment) -> None:
    if inner.name.text in builder.seen:
        raise refusal(Code.ZS0103, f"{inner.name.text} stands twice", inner.name, "remove one")
    builder.seen.add(inner.name.text)


def _read_selection(builder: _Builder, inner: Segment) -> Selection:
    _once(builder, inner)
    if not inner.arguments:
        raise wrong_count(inner, "lb_policy NAME")
    policy = inner.arguments[0]
    check(builder.reading, Kind.SUBDIRECTIVE, policy.text, policy, "lb_policy")
    return Selection(only_argument(inner, f"lb_policy {policy.text}").text)


def _read_flush(inner: Segment) -> int:
    token = only_argument(inner, "flush_interval DURATION, or -1 to flush at once")
    return -1 if token.text.startswith("-") else duration_ms(token)


def _finish_transport(builder: _Builder, segment: Segment) -> HttpTransport:
    """Let the scheme of the upstreams decide on TLS and versions, as Caddy does."""
    transport = builder.transport or HttpTransport()
    if builder.scheme == "https" and transport.tls is None:
        transport = replace(transport, tls=UpstreamTls())
    if builder.scheme == "http" and transport.tls is not None:
        cure = "write https:// upstreams, or remove tls from the transport"
        raise refusal(Code.ZS0103, "upstreams are http:// but the transport has tls", segment.name, cure)
    if builder.scheme == "h2c":
        transport = replace(transport, versions=("h2c", "2"))
    return transport


def _read_transport(builder: _Builder, segment: Segment) -> HttpTransport:
    if len(segment.arguments) != 1:
        raise wrong_count(segment, "transport http { … }")
    name = segment.arguments[0]
    if name.text != "http":
        code = Code.ZS0110 if name.text == "fastcgi" else Code.ZS0103
        raise refusal(code, f"transport {name.text} is not supported", name, "write transport http")
    transport = HttpTransport()
    for inner in segment.block or ():
        with builder.reading.collect():
            if check(builder.reading, Kind.SUBDIRECTIVE, inner.name.text, inner.name, "transport"):
                transport = _read_transport_line(transport, inner)
    return transport


def _read_transport_line(transport: HttpTransport, inner: Segment) -> HttpTransport:
    name, tls = inner.name.text, transport.tls or UpstreamTls()
    match name:
        case "tls":
            no_arguments(inner)
            return replace(transport, tls=tls)
        case "tls_insecure_skip_verify":
            no_arguments(inner)
            return replace(transport, tls=replace(tls, insecure_skip_verify=True))
        case "tls_server_name":
            server_name = only_argument(inner, "tls_server_name NAME").text
            return replace(transport, tls=replace(tls, server_name=server_name))
        case "tls_trusted_ca_certs":
            files = texts(some_arguments(inner, "tls_trusted_ca_certs FILE …"))
            return replace(transport, tls=replace(tls, trusted_ca_files=files))
        case "keepalive":
            token = only_argument(inner, "keepalive DURATION, or keepalive off")
            return replace(transport, keepalive_ms=-1 if token.text == "off" else duration_ms(token))
        case "versions":
            versions = some_arguments(inner, "versions 1.1 2 h2c")
            for token in versions:
                if token.text not in ("1.1", "2", "h2c", "3"):
                    cure = "write 1.1, 2 or h2c"
                    raise refusal(Code.ZS0103, f"unknown version {token.text!r} of HTTP", token, cure)
            return replace(transport, versions=texts(versions))
        case _:
            duration = duration_ms(only_argument(inner, f"{name} DURATION"))
            return _with_duration(transport, name, duration)


def _with_duration(transport: HttpTransport, name: str, duration: int) -> HttpTransport:
    match name:
        case "dial_timeout":
            return replace(transport, dial_timeout_ms=duration)
        case "response_header_timeout":
            return replace(transport, response_header_timeout_ms=duration)
        case "read_timeout":
            return replace(transport, read_timeout_ms=duration)
        case _:
            return replace(transport, write_timeout_ms=duration)
