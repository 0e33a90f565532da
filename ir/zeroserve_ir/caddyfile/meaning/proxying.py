"""`reverse_proxy` and its transport (reverseproxy/caddyfile.go).

In: the segment without its matcher. Out: a `ReverseProxy` of the tree. Subdirectives that the engine
has no counterpart for yet are refused or warned about by the profile table.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.answering import ReadRoutes, ResponseHandlers, split_copied
from zeroserve_ir.caddyfile.meaning.balancing import read_policy
from zeroserve_ir.caddyfile.meaning.checking import PASSIVE, read_active, read_passive
from zeroserve_ir.caddyfile.meaning.discovering import read_source
from zeroserve_ir.caddyfile.meaning.fastcgi import read_transport as read_fastcgi_transport
from zeroserve_ir.caddyfile.meaning.fields import canonical_field
from zeroserve_ir.caddyfile.meaning.headers import OperationsBuilder
from zeroserve_ir.caddyfile.meaning.matchers import read_ranges, read_set
from zeroserve_ir.caddyfile.meaning.profiles import Kind, check
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    duration_ms,
    integer,
    no_arguments,
    number_or_duration_ms,
    only_argument,
    refusal,
    refuse_block,
    size_bytes,
    some_arguments,
    take_arguments,
    wrong_count,
)
from zeroserve_ir.caddyfile.meaning.resilience import RESILIENCE, read_resilience
from zeroserve_ir.caddyfile.meaning.transporting import read_transport_line
from zeroserve_ir.caddyfile.meaning.upstreams import read_upstream
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree import (
    ActiveHealth,
    HeaderOperations,
    Headers,
    HttpTransport,
    MatchNot,
    MatchVars,
    PassiveHealth,
    ResponseHandler,
    ResponseMatch,
    ReverseProxy,
    Rewrite,
    Route,
    SetVariables,
    Upstream,
    UpstreamTls,
)
from zeroserve_ir.tree_fastcgi import FastCgi

_PLAIN = ReverseProxy(())


@dataclass(slots=True)
class _Builder:
    reading: Reading
    handlers: ResponseHandlers
    upstreams: list[Upstream] = field(default_factory=list)
    scheme: str | None = None
    transport: HttpTransport | None = None
    fastcgi: FastCgi | None = None
    up: OperationsBuilder = field(default_factory=OperationsBuilder)
    down: OperationsBuilder = field(default_factory=OperationsBuilder)
    proxy: ReverseProxy = _PLAIN
    seen: set[str] = field(default_factory=set)


def read_forward_auth(segment: Segment, reading: Reading, read_routes: ReadRoutes) -> ReverseProxy:
    """`forward_auth <upstream> { uri <uri> ; copy_headers <field> … ; … }` (forwardauth/caddyfile.go)."""
    uri, copied, rest = "", dict[str, str](), list[Segment]()
    for inner in segment.block or ():
        if inner.name.text == "uri":
            if uri:
                raise refusal(Code.ZS0103, "uri stands twice", inner.name, "remove one")
            uri = only_argument(inner, "uri TO").text
        elif inner.name.text == "copy_headers":
            copied |= split_copied(_copied_tokens(inner))
            if not copied:
                raise wrong_count(inner, "copy_headers FIELD …")
        else:
            rest.append(inner)
    if not uri:
        raise refusal(Code.ZS0102, "forward_auth has no uri", segment.name, "write uri /PATH in its block")
    builder = _Builder(reading, ResponseHandlers(read_routes))
    builder.up.set = {
        "X-Forwarded-Method": "{http.request.method}",
        "X-Forwarded-Uri": "{http.request.uri}",
    }
    builder.proxy = ReverseProxy((), rewrite=Rewrite(method="GET", uri=uri))
    proxy = _read_proxy(Segment(segment.name, segment.arguments, tuple(rest)), builder)
    granted = ResponseHandler(ResponseMatch((2,)), routes=copying_routes(copied))
    return replace(proxy, response_handlers=(granted, *proxy.response_handlers))


def _copied_tokens(inner: Segment) -> tuple[Token, ...]:
    """Every word is a field, on the line and in the block."""
    if not inner.block:
        refuse_block(inner)
    for line in inner.block or ():
        refuse_block(line)
    lines = [(line.name, *line.arguments) for line in inner.block or ()]
    return (*inner.arguments, *(token for line in lines for token in line))


def copying_routes(copied: dict[str, str]) -> tuple[Route, ...]:
    """Return the routes that copy fields of the granting answer to the request in place of its own."""
    routes = [Route((SetVariables(()),))]
    for name in sorted(copied):
        field, placeholder = (
            canonical_field(copied[name]),
            f"{{http.reverse_proxy.header.{canonical_field(name)}}}",
        )
        empty = MatchVars(((placeholder, ("",)),))
        routes.append(Route((Headers(request=HeaderOperations(delete=(field,))),)))
        setting = Headers(request=HeaderOperations(set=((field, placeholder),)))
        routes.append(Route((setting,), ((MatchNot(((empty,),)),),)))
    return tuple(routes)


def read_reverse_proxy(segment: Segment, reading: Reading, read_routes: ReadRoutes) -> ReverseProxy:
    """`reverse_proxy [<upstreams…>] { … }`; every wrong line of the block is reported."""
    return _read_proxy(segment, _Builder(reading, ResponseHandlers(read_routes)))


def _read_proxy(segment: Segment, builder: _Builder) -> ReverseProxy:
    reading = builder.reading
    for token in segment.arguments:
        with reading.collect():
            _add_upstream(builder, token)
    for inner in segment.block or ():
        with reading.collect():
            name = inner.name.text
            if not builder.handlers.read(inner) and check(
                reading, Kind.SUBDIRECTIVE, name, inner.name, "reverse_proxy"
            ):
                _read_line(builder, inner)
    if not builder.upstreams and reading.tenancy is not None:
        raise refusal(
            Code.ZS0102, "reverse_proxy has no upstream", segment.name, "write reverse_proxy NAME:PORT"
        )
    # Most proxies say no more than where to: `replace` copies all fields.
    make = ReverseProxy if builder.proxy is _PLAIN else partial(replace, builder.proxy)
    return make(
        upstreams=tuple(builder.upstreams),
        transport=_finish_transport(builder, segment),
        fastcgi=builder.fastcgi,
        request_headers=builder.up.build(),
        response_headers=builder.down.build(),
        response_handlers=builder.handlers.finish(reading),
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
            _once(builder, inner)
            builder.proxy = replace(proxy, selection=read_policy(inner, builder.reading))
        case "lb_retries":
            builder.proxy = replace(proxy, retries=integer(only_argument(inner, "lb_retries NUMBER")))
        case "lb_try_duration":
            duration = duration_ms(only_argument(inner, "lb_try_duration DURATION"))
            builder.proxy = replace(proxy, try_duration_ms=duration)
        case "lb_try_interval":
            duration = duration_ms(only_argument(inner, "lb_try_interval DURATION"))
            builder.proxy = replace(proxy, try_interval_ms=duration)
        case "lb_retry_match":
            matchers = read_set(inner, builder.reading)
            builder.proxy = replace(proxy, retry_match=(*proxy.retry_match, matchers))
        case "dynamic":
            _once(builder, inner)
            builder.proxy = replace(proxy, dynamic=read_source(inner, builder.reading))
        case "flush_interval":
            builder.proxy = replace(proxy, flush_interval_ms=_read_flush(inner))
        case "trusted_proxies":
            refuse_block(inner)
            ranges = read_ranges(inner.arguments)
            builder.proxy = replace(proxy, trusted_proxies=proxy.trusted_proxies + ranges)
        case "header_up" | "header_down":
            if not 1 <= len(inner.arguments) <= 3:
                raise wrong_count(inner, f"{name} FIELD [VALUE [REPLACEMENT]]")
            refuse_block(inner)
            target = builder.up if name == "header_up" else builder.down
            target.read(inner.arguments, response=False)
        case "method":
            rewrite = replace(proxy.rewrite or Rewrite(), method=only_argument(inner, "method METHOD").text)
            builder.proxy = replace(proxy, rewrite=rewrite)
        case "rewrite":
            rewrite = replace(proxy.rewrite or Rewrite(), uri=only_argument(inner, "rewrite TO").text)
            builder.proxy = replace(proxy, rewrite=rewrite)
        case "transport":
            _once(builder, inner)
            builder.transport = _read_transport(builder, inner)
        case _ if name in RESILIENCE:
            resilience = read_resilience(proxy.resilience, inner, builder.reading.tenancy)
            builder.proxy = replace(proxy, resilience=resilience)
        case _:
            builder.proxy = _read_setting(proxy, inner)


def _read_setting(proxy: ReverseProxy, inner: Segment) -> ReverseProxy:
    name = inner.name.text
    if name.startswith("health_"):
        return replace(proxy, active_health=read_active(proxy.active_health or ActiveHealth(), inner))
    if name in PASSIVE:
        return replace(proxy, passive_health=read_passive(proxy.passive_health or PassiveHealth(), inner))
    match name:
        case "stream_timeout":
            return replace(proxy, stream_timeout_ms=_read_stream_duration(inner))
        case "stream_close_delay":
            return replace(proxy, stream_close_delay_ms=_read_stream_duration(inner))
        case "verbose_logs":
            no_arguments(inner)
            return replace(proxy, verbose_logs=True)
        case _:
            return _read_buffers(proxy, inner)


def _once(builder: _Builder, inner: Segment) -> None:
    if inner.name.text in builder.seen:
        raise refusal(Code.ZS0103, f"{inner.name.text} stands twice", inner.name, "remove one")
    builder.seen.add(inner.name.text)


def _read_flush(inner: Segment) -> int:
    token = only_argument(inner, "flush_interval DURATION, or -1 to flush at once")
    return max(number_or_duration_ms(token), -1)


def _read_stream_duration(inner: Segment) -> int:
    return number_or_duration_ms(only_argument(inner, f"{inner.name.text} DURATION"))


def _read_buffers(proxy: ReverseProxy, inner: Segment) -> ReverseProxy:
    token = only_argument(inner, f"{inner.name.text} SIZE, or unlimited")
    size = -1 if token.text == "unlimited" else size_bytes(token)
    match inner.name.text:
        case "request_buffers":
            return replace(proxy, request_buffers_bytes=size)
        case "response_buffers":
            return replace(proxy, response_buffers_bytes=size)
        case _:
            return replace(proxy, stream_buffer_bytes=size)


def _finish_transport(builder: _Builder, segment: Segment) -> HttpTransport:
    """Let the scheme of the upstreams decide on TLS and versions, as Caddy does."""
    transport = builder.transport or HttpTransport()
    if builder.fastcgi is not None:
        if builder.scheme == "https":
            cure = "write the upstreams without https://"
            raise refusal(Code.ZS0103, "transport fastcgi has no TLS", segment.name, cure)
        return transport
    if builder.scheme == "https" and transport.tls is None:
        transport = replace(transport, tls=UpstreamTls())
    if builder.scheme == "http" and transport.tls is not None:
        cure = "write https:// upstreams, or remove tls from the transport"
        raise refusal(Code.ZS0103, "upstreams are http:// but the transport has tls", segment.name, cure)
    if builder.scheme == "h2c":
        transport = replace(transport, versions=("h2c", "2"))
    return transport


def _read_transport(builder: _Builder, segment: Segment) -> HttpTransport:
    if not segment.arguments:
        raise wrong_count(segment, "transport http { … }")
    if len(segment.arguments) > 1:
        segment = take_arguments(segment, 1, builder.reading)._replace(block=None)
    name = segment.arguments[0]
    if name.text == "fastcgi":
        gateway = read_fastcgi_transport(segment, builder.reading)
        builder.fastcgi = gateway.fastcgi
        return gateway.transport
    if name.text != "http":
        cure = "write transport http or transport fastcgi"
        raise refusal(Code.ZS0103, f"transport {name.text} is not supported", name, cure)
    transport = HttpTransport()
    for inner in segment.block or ():
        with builder.reading.collect():
            if check(builder.reading, Kind.SUBDIRECTIVE, inner.name.text, inner.name, "transport"):
                transport = read_transport_line(transport, inner, builder.reading)
    return transport
