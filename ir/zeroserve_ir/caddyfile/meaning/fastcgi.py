"""`transport fastcgi` and `php_fastcgi` (reverseproxy/fastcgi/caddyfile.go).

In: segments without the request's matcher. Out: the transport, and the routes that `php_fastcgi` stands for.
Called by `proxying` and `directives`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.profiles import Kind, check
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    duration_ms,
    no_arguments,
    only_argument,
    refusal,
    refuse_block,
    some_arguments,
    texts,
    wrong_count,
)
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree import (
    HttpTransport,
    MatchNot,
    MatchPath,
    ReverseProxy,
    Rewrite,
    Route,
    StaticResponse,
)
from zeroserve_ir.tree_fastcgi import FastCgi
from zeroserve_ir.tree_files import MatchFile, TryPolicy
from zeroserve_ir.tree_upstreams import NO_KEEPALIVE_MS

NO_KEEPALIVE = HttpTransport(keepalive_ms=NO_KEEPALIVE_MS)
"""One request a connection, as Caddy has it."""
_TRANSPORT_LINES = (
    "root", "split", "env", "resolve_root_symlink", "dial_timeout", "read_timeout", "write_timeout",
    "capture_stderr",
)  # fmt: skip
_PATH = "{http.request.uri.path}"
_CANONICAL = "{http.request.orig_uri.path}/{http.request.orig_uri.prefixed_query}"


@dataclass(slots=True)
class Gateway:
    """A transport being read."""

    fastcgi: FastCgi = field(default_factory=FastCgi)
    transport: HttpTransport = NO_KEEPALIVE


def read_transport(segment: Segment, reading: Reading) -> Gateway:
    """`transport fastcgi { … }`."""
    gateway = Gateway()
    for inner in segment.block or ():
        with reading.collect():
            check(reading, Kind.SUBDIRECTIVE, inner.name.text, inner.name, "fastcgi")
            _read_line(gateway, inner)
    return gateway


def _read_line(gateway: Gateway, inner: Segment) -> None:
    name, fastcgi = inner.name.text, gateway.fastcgi
    match name:
        case "root":
            gateway.fastcgi = replace(fastcgi, root=only_argument(inner, "root PATH").text)
        case "split":
            split = some_arguments(inner, "split SUFFIX …")
            for token in split:
                if not token.text.isascii():
                    cure = "write an ASCII suffix such as .php"
                    raise refusal(Code.ZS0103, f"suffix {token.text!r} is not ASCII", token, cure)
            gateway.fastcgi = replace(fastcgi, split=texts(split))
        case "env":
            if len(inner.arguments) != 2:
                raise wrong_count(inner, "env NAME VALUE")
            refuse_block(inner)
            variables = dict(fastcgi.environment)
            variables[inner.arguments[0].text] = inner.arguments[1].text
            gateway.fastcgi = replace(fastcgi, environment=tuple(variables.items()))
        case "resolve_root_symlink":
            no_arguments(inner)
            gateway.fastcgi = replace(fastcgi, resolve_root_symlink=True)
        case "capture_stderr":
            no_arguments(inner)
            gateway.fastcgi = replace(fastcgi, capture_stderr=True)
        case _:
            gateway.transport = _with_timeout(gateway.transport, inner)


def _with_timeout(transport: HttpTransport, inner: Segment) -> HttpTransport:
    duration = duration_ms(only_argument(inner, f"{inner.name.text} DURATION"))
    match inner.name.text:
        case "dial_timeout":
            return replace(transport, dial_timeout_ms=duration)
        case "read_timeout":
            return replace(transport, read_timeout_ms=duration)
        case _:
            return replace(transport, write_timeout_ms=duration)


@dataclass(slots=True)
class _Php:
    gateway: Gateway
    index: str = "index.php"
    tried: tuple[str, ...] = ()


ReadProxy = Callable[[Segment, Reading], ReverseProxy]


def read_php_fastcgi(segment: Segment, reading: Reading, read_proxy: ReadProxy) -> tuple[Route, ...]:
    """`php_fastcgi <upstreams…> { … }`: redirect to the directory, rewrite to the index, proxy of scripts."""
    php = _Php(Gateway(FastCgi(split=(".php",))))
    rest: list[Segment] = []
    for inner in segment.block or ():
        with reading.collect():
            if inner.name.text == "transport":
                cure = "write its lines into the block of php_fastcgi"
                raise refusal(Code.ZS0103, "php_fastcgi has its transport", inner.name, cure)
            if not _read_php_line(php, inner, reading):
                rest.append(inner)
    proxy = read_proxy(Segment(segment.name, segment.arguments, tuple(rest)), reading)
    if proxy.fastcgi is None:
        proxy = replace(proxy, fastcgi=php.gateway.fastcgi, transport=php.gateway.transport)
    split = php.gateway.fastcgi.split
    scripts = MatchPath(tuple(f"*{suffix}" for suffix in split))
    last = Route((proxy,), ((scripts,),), span=segment.span)
    if php.index == "off":
        return (last,)
    return (*_index_routes(php, segment), last)


def _read_php_line(php: _Php, inner: Segment, reading: Reading) -> bool:
    """Read a line that is not the proxy's; False for one that is."""
    name = inner.name.text
    if name == "index":
        check(reading, Kind.SUBDIRECTIVE, name, inner.name, "php_fastcgi")
        php.index = only_argument(inner, "index FILE, or index off").text
    elif name == "try_files":
        check(reading, Kind.SUBDIRECTIVE, name, inner.name, "php_fastcgi")
        php.tried = texts(some_arguments(inner, "try_files FILE …"))
    elif name in _TRANSPORT_LINES:
        check(reading, Kind.SUBDIRECTIVE, name, inner.name, "fastcgi")
        _read_line(php.gateway, _without_arguments(inner))
    else:
        return False
    return True


def _without_arguments(inner: Segment) -> Segment:
    """Caddy's php_fastcgi drops words after these two."""
    words: tuple[Token, ...] = inner.arguments
    if inner.name.text in ("resolve_root_symlink", "capture_stderr"):
        words = ()
    return Segment(inner.name, words, inner.block)


def _index_routes(php: _Php, segment: Segment) -> list[Route]:
    index = f"{_PATH}/{php.index}"
    policy = TryPolicy.FIRST_EXIST_FALLBACK
    if php.tried and not php.tried[-1].endswith(".php"):
        policy = TryPolicy.DEFAULT
    tried = php.tried or (_PATH, index, php.index)
    routes = []
    if index in tried:
        not_directory = MatchNot(((MatchPath(("*/",)),),))
        redirect = StaticResponse("308", headers=(("Location", _CANONICAL),))
        routes.append(Route((redirect,), ((MatchFile((index,)), not_directory),), span=segment.span))
    matcher = MatchFile(tried, policy=policy, split_path=php.gateway.fastcgi.split)
    rewrite = Rewrite(uri="{http.matchers.file.relative}")
    return [*routes, Route((rewrite,), ((matcher,),), span=segment.span)]
