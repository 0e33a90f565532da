"""The table of handler directives, and the blocks that hold directives.

In: the segments of a block. Out: its routes, sorted and grouped as Caddy's adapter does. A directive
that is refused is reported and left out; its neighbours are read. Called for site bodies, and by itself
for nested blocks (httpcaddyfile/directives.go parseSegmentAsConfig).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from zeroserve_ir.caddyfile.meaning.answering import (
    ReadRoutes,
    read_copy_response,
    read_copy_response_headers,
    read_error_statuses,
    read_intercept,
)
from zeroserve_ir.caddyfile.meaning.carrying import (
    read_acme_directory,
    read_fs,
    read_invoke,
    read_metrics,
    read_push,
    read_timeouts,
)
from zeroserve_ir.caddyfile.meaning.encoders import read_encode
from zeroserve_ir.caddyfile.meaning.fastcgi import read_php_fastcgi
from zeroserve_ir.caddyfile.meaning.files import read_file_server, read_try_files
from zeroserve_ir.caddyfile.meaning.headers import read_header, read_request_header
from zeroserve_ir.caddyfile.meaning.mapping import (
    read_log_append,
    read_log_name,
    read_log_skip,
    read_map,
    read_tracing,
)
from zeroserve_ir.caddyfile.meaning.matchers import define_matcher, split_matcher
from zeroserve_ir.caddyfile.meaning.ordering import Placed, group_routes, sort_routes
from zeroserve_ir.caddyfile.meaning.plugins import read_zeroserve_call, read_zeroserve_plugin
from zeroserve_ir.caddyfile.meaning.profiles import Kind, check
from zeroserve_ir.caddyfile.meaning.proxying import read_forward_auth, read_reverse_proxy
from zeroserve_ir.caddyfile.meaning.rates import read_rate_limit
from zeroserve_ir.caddyfile.meaning.reading import (
    Profile,
    Reading,
    Scope,
    refusal,
    take_arguments,
    without_empty_block,
    wrong_count,
)
from zeroserve_ir.caddyfile.meaning.responding import (
    read_abort,
    read_basic_auth,
    read_error,
    read_method,
    read_redir,
    read_request_body,
    read_respond,
    read_rewrite,
    read_root,
    read_uri,
    read_vars,
)
from zeroserve_ir.caddyfile.meaning.templating import read_templates
from zeroserve_ir.caddyfile.meaning.traffic import read_bandwidth, read_cache, read_concurrency, read_fault
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.tree import Handler, MatcherSet, MatchPath, Rewrite, Route, Subroute

SITE_DIRECTIVES = ("bind", "handle_errors", "log", "tls")
"""Directives that stand at a site's own level only."""


def read_directives(segments: Sequence[Segment], scope: Scope) -> list[Placed]:
    """Read matchers, then directives; what stands at the site's level only is refused."""
    for segment in segments:
        if segment.name.text.startswith("@"):
            with scope.reading.collect():
                define_matcher(segment, scope)
    placed: list[Placed] = []
    for segment in segments:
        if not segment.name.text.startswith("@"):
            with scope.reading.collect():
                placed += read_directive(segment, scope)
    return placed


def read_directive(segment: Segment, scope: Scope) -> list[Placed]:
    """Read one directive with its matcher into the routes that it makes."""
    name = segment.name.text
    if segment.name.opens:
        return []  # The parser has said so.
    if not check(scope.reading, Kind.DIRECTIVE, name, segment.name):
        return []
    segment = _leave_out_block(segment, scope.reading)
    if name in SITE_DIRECTIVES:
        cure = f"move {name} out of the block"
        raise refusal(Code.ZS0101, f"{name} stands at the level of the site only", segment.name, cure)
    if name == "handle_path":
        return [Placed("handle", _read_handle_path(segment, scope))]
    if name == "try_files":
        return [Placed(name, route) for route in read_try_files(segment, scope.reading)]
    # These two have one argument at least, which may look like a matcher (rewrite/caddyfile.go).
    if name in ("rewrite", "root") and len(segment.arguments) == 1:
        matchers: tuple[MatcherSet, ...] = ()
        rest = segment
    else:
        matchers, rest = split_matcher(segment, scope)
    if name in ("rewrite", "root") and len(segment.arguments) == 2:
        rest = take_arguments(rest, 1, scope.reading)
    if name == "php_fastcgi":
        return _place_php(rest, matchers, scope)
    handlers: Sequence[Handler]
    if name == "header":
        handlers = read_header(rest, scope.reading)
    elif name in ("handle", "route"):
        handlers = [Subroute(_read_block(rest, scope, sort=name == "handle"))]
    elif name in _NESTING_READERS:
        read_routes = partial(_read_block, scope=scope, sort=True)
        handlers = [_NESTING_READERS[name](rest, scope.reading, read_routes)]
    else:
        handlers = [_READERS[name](rest, scope.reading)]
    return [Placed(name, Route((handler,), matchers, span=segment.span)) for handler in handlers]


def _leave_out_block(segment: Segment, reading: Reading) -> Segment:
    """Warn of a block that Caddy does not read, such as those of Caddy 1; readers refuse those of tenants."""
    name = segment.name.text
    if name in _BLOCKLESS or name in ("log_skip", "skip_log"):
        segment = without_empty_block(segment)
    queries = name == "uri" and any(argument.text == "query" for argument in segment.arguments)
    if not segment.block or name not in _BLOCKLESS or queries or reading.profile is not Profile.LOCAL:
        return segment
    message = f"{name} reads no block: this one is left out, as Caddy does"
    cure = "remove the block; conditions are matchers (@name { … })"
    span = segment.block[0].name.span
    reading.diagnostics.append(Diagnostic(Code.ZS0001, message, span, help=cure, severity=Severity.WARNING))
    return segment._replace(block=None)


def _place_php(segment: Segment, matchers: tuple[MatcherSet, ...], scope: Scope) -> list[Placed]:
    """With a matcher its routes are one subroute; without, they stay together as they are."""
    read_routes = partial(_read_block, scope=scope, sort=True)
    read_proxy = partial(read_reverse_proxy, read_routes=read_routes)
    routes = read_php_fastcgi(segment, scope.reading, read_proxy)
    if matchers:
        routes = (Route((Subroute(routes),), matchers, span=segment.span),)
    return [Placed("php_fastcgi", route, together=not matchers) for route in routes]


def _read_block(segment: Segment, scope: Scope, *, sort: bool) -> tuple[Route, ...]:
    if segment.arguments:
        raise wrong_count(segment, f"{segment.name.text} [MATCHER] {{ … }}")
    return build_routes(read_directives(segment.block or (), scope.nested()), scope.reading, sort=sort)


def build_routes(placed: list[Placed], reading: Reading, *, sort: bool) -> tuple[Route, ...]:
    """Sort, unless the block keeps its order, then group and merge."""
    if sort:
        placed = sort_routes(placed, reading.order)
    return group_routes(placed, reading.next_group)


def _read_handle_path(segment: Segment, scope: Scope) -> Route:
    """`handle_path /prefix* { … }`: `handle` that strips the prefix first."""
    if len(segment.arguments) != 1 or not segment.arguments[0].text.startswith("/"):
        raise wrong_count(segment, "handle_path /PREFIX/* { … }")
    path = segment.arguments[0].text
    prefix = path.removesuffix("/*") if path.endswith("/*") else path.removesuffix("*")
    strip = Route((Rewrite(strip_path_prefix=prefix),), span=segment.span)
    routes = _read_block(Segment(segment.name, (), segment.block), scope, sort=True)
    return Route((Subroute((strip, *routes)),), ((MatchPath((path,)),),), span=segment.span)


def read_error_block(segment: Segment, scope: Scope) -> Route:
    """`handle_errors [STATUS …] { … }`."""
    statuses = read_error_statuses(segment)
    routes = _read_block(Segment(segment.name, (), segment.block), scope, sort=True)
    return Route((Subroute(routes),), ((statuses,),) if statuses else (), span=segment.span)


_BLOCKLESS = ("fs", "log_append", "log_name", "method", "redir", "request_header", "rewrite", "root", "uri")

_NESTING_READERS: dict[str, Callable[[Segment, Reading, ReadRoutes], Handler]] = {
    "forward_auth": read_forward_auth,
    "intercept": read_intercept,
    "reverse_proxy": read_reverse_proxy,
}
"""Directives whose blocks hold blocks of directives."""

_READERS: dict[str, Callable[[Segment, Reading], Handler]] = {
    "abort": read_abort,
    "acme_server": read_acme_directory,
    "fs": read_fs,
    "invoke": read_invoke,
    "metrics": read_metrics,
    "timeouts": read_timeouts,
    "push": read_push,
    "bandwidth": read_bandwidth,
    "basic_auth": read_basic_auth,
    "basicauth": read_basic_auth,
    "encode": read_encode,
    "templates": read_templates,
    "cache": read_cache,
    "concurrency": read_concurrency,
    "copy_response": read_copy_response,
    "copy_response_headers": read_copy_response_headers,
    "error": read_error,
    "fault": read_fault,
    "file_server": read_file_server,
    "log_append": read_log_append,
    "log_name": read_log_name,
    "log_skip": read_log_skip,
    "map": read_map,
    "method": read_method,
    "rate_limit": read_rate_limit,
    "redir": read_redir,
    "request_body": read_request_body,
    "request_header": read_request_header,
    "respond": read_respond,
    "rewrite": read_rewrite,
    "root": read_root,
    "skip_log": read_log_skip,
    "tracing": read_tracing,
    "uri": read_uri,
    "vars": read_vars,
    "zeroserve_call": read_zeroserve_call,
    "zeroserve_plugin": read_zeroserve_plugin,
}
