"""Matchers, handlers and routes of the tree as the objects of Caddy's JSON.

In: values of `zeroserve_ir.tree`. Out: plain dicts and lists, keys as Caddy's modules name them, empty
values left out as Go does. Called by `adapting`. Durations are nanoseconds there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from zeroserve_ir.caddyfile import encoding_answers as answers
from zeroserve_ir.caddyfile import encoding_requests as requests
from zeroserve_ir.caddyfile import encoding_traffic as traffic
from zeroserve_ir.caddyfile.encoding_encode import encode_encode, encode_templates
from zeroserve_ir.caddyfile.encoding_fastcgi import encode_fastcgi
from zeroserve_ir.caddyfile.encoding_files import encode_file_matcher, encode_file_server
from zeroserve_ir.caddyfile.encoding_requests import literal
from zeroserve_ir.caddyfile.encoding_upstreams import (
    encode_health,
    encode_policy,
    encode_resilience,
    encode_source,
    encode_transport,
    nanoseconds,
    prune,
)
from zeroserve_ir.caddyfile.meaning.matchers import MODULES
from zeroserve_ir.tree import (
    AppendLog,
    AttachPlugin,
    BasicAuth,
    CallPlugin,
    CopyResponse,
    CopyResponseHeaders,
    Handler,
    HeaderOperations,
    Headers,
    Intercept,
    Invoke,
    LimitRate,
    MapValues,
    MatchClientIp,
    Matcher,
    MatchErrorStatus,
    MatcherSet,
    MatchExpression,
    MatchHeader,
    MatchHeaderRegexp,
    MatchHost,
    MatchMethod,
    MatchNot,
    MatchPath,
    MatchPathExact,
    MatchPathPrefix,
    MatchPathRegexp,
    MatchProtocol,
    MatchQuery,
    MatchRemoteIp,
    MatchVars,
    MatchVarsRegexp,
    NameLoggers,
    RaiseError,
    RequestBody,
    ReverseProxy,
    Rewrite,
    Route,
    SetVariables,
    StaticResponse,
    Subroute,
    Trace,
)
from zeroserve_ir.tree_carried import CarriedHandler, CarriedMatcher
from zeroserve_ir.tree_encode import Encode
from zeroserve_ir.tree_files import FileServer, MatchFile
from zeroserve_ir.tree_templates import Templates
from zeroserve_ir.tree_traffic import InjectFault, KeepAnswers, LimitBandwidth, LimitConcurrency

Json = dict[str, Any]


def encode_routes(routes: Iterable[Route]) -> list[Json]:
    """Encode routes in order."""
    return [encode_route(route) for route in routes]


def encode_route(route: Route) -> Json:
    """Encode one route with its handlers."""
    return prune(
        {
            "group": route.group,
            "match": encode_sets(route.matchers),
            "handle": [encode_handler(handler) for handler in route.handlers],
            "terminal": route.terminal,
        }
    )


# Matchers


def encode_sets(sets: Iterable[MatcherSet]) -> list[Json]:
    """Encode matcher sets."""
    return [encode_set(one) for one in sets]


def encode_set(matchers: MatcherSet) -> Json:
    """Encode a set; a second `path_regexp` goes in as a doubly negated one, as a set is a map."""
    encoded: Json = {}
    for matcher in matchers:
        module = matcher.module if isinstance(matcher, CarriedMatcher) else MODULES[type(matcher)]
        value = _encode_matcher(matcher)
        if module in ("header_regexp", "vars_regexp") or (module == "header" and module in encoded):
            encoded.setdefault(module, {}).update(value)
        elif module == "not":
            encoded.setdefault(module, []).extend(value)
        elif module in encoded:
            encoded.setdefault("not", []).append({"not": [{module: value}]})
        else:
            encoded[module] = value
    return encoded


def exact_pattern(path: str) -> str:
    """Return the pattern that an exact, case-sensitive path is printed as."""
    return f"^{escape_regexp(path)}$"


def prefix_pattern(path: str) -> str:
    """Return the pattern of an element-wise, case-sensitive prefix."""
    return "^/" if path == "/" else f"^{escape_regexp(path)}(/|$)"


def escape_regexp(text: str) -> str:
    """Escape the characters that mean something to RE2 (regexp.QuoteMeta)."""
    return re.sub(r"[\\.+*?()|\[\]{}^$]", lambda found: "\\" + found[0], text)


def _encode_matcher(matcher: Matcher) -> Any:
    match matcher:
        case MatchPath(patterns):
            return list(patterns) or None
        case MatchHost(hosts):
            return list(hosts) or None
        case MatchMethod(methods):
            return list(methods) or None
        case MatchPathRegexp(pattern, name):
            return prune({"name": name, "pattern": pattern})
        case MatchPathExact(path):
            return {"pattern": exact_pattern(path)}
        case MatchPathPrefix(path):
            return {"pattern": prefix_pattern(path)}
        case MatchHeader(fields):
            return {field: None if values is None else list(values) for field, values in fields}
        case MatchHeaderRegexp(field, pattern, name):
            return {field: prune({"name": name, "pattern": pattern})}
        case MatchQuery(keys):
            return {key: list(values) for key, values in keys}
        case MatchProtocol(protocol):
            return protocol
        case MatchRemoteIp(ranges) | MatchClientIp(ranges):
            return {"ranges": list(ranges)} if ranges else {}
        case MatchVars(variables):
            return {name: list(values) for name, values in variables}
        case MatchVarsRegexp():
            return requests.encode_vars_regexp(matcher)
        case MatchExpression():
            return requests.encode_expression(matcher)
        case MatchNot(sets):
            return encode_sets(sets)
        case CarriedMatcher(settings=settings):
            return settings.value()
        case MatchFile():
            return encode_file_matcher(matcher)
        case MatchErrorStatus():
            return answers.encode_error_status(matcher)


# Handlers


def encode_handler(handler: Handler) -> Json:
    """Encode one handler under its module's name."""
    if isinstance(handler, CarriedHandler):
        return {"handler": handler.module, **handler.settings.value()}
    name, encode = _ENCODERS[type(handler)]
    return {"handler": name, **encode(handler)}


def _encode_subroute(handler: Subroute) -> Json:
    errors = {"routes": encode_routes(handler.errors)} if handler.errors else {}
    return prune({"routes": encode_routes(handler.routes), "errors": errors})


def _encode_response(handler: StaticResponse) -> Json:
    return prune(
        {
            "status_code": _weak(handler.status),
            "headers": _header_map(handler.headers),
            "body": handler.body,
            "close": handler.close,
            "abort": handler.abort,
        }
    )


def _weak(status: str) -> str | int:
    """Return a status as a number where it is one (caddyhttp.WeakString)."""
    return answers.encode_status(status)


def _encode_error(handler: RaiseError) -> Json:
    return prune({"error": handler.message, "status_code": _weak(handler.status)})


def _header_map(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for field, value in pairs:
        fields.setdefault(field, []).append(value)
    return fields


def encode_operations(operations: HeaderOperations) -> Json:
    """Encode changes of header fields."""
    replace: dict[str, list[Json]] = {}
    for one in operations.replace:
        key = "search_regexp" if one.regexp else "search"
        replace.setdefault(one.field, []).append(prune({key: one.search, "replace": one.replace}))
    return prune(
        {
            "add": _header_map(operations.add),
            "set": _header_map(operations.set + operations.default),
            "delete": list(operations.delete),
            "replace": replace,
        }
    )


def _encode_headers(handler: Headers) -> Json:
    response = encode_operations(handler.response)
    if handler.response.default:
        response["require"] = {"headers": {field: None for field, _ in handler.response.default}}
    if handler.require is not None:
        response["require"] = answers.encode_response_match(handler.require)
    if handler.deferred:
        response["deferred"] = True
    return prune({"request": encode_operations(handler.request), "response": response})


def encode_rewrite(handler: Rewrite) -> Json:
    """Encode a rewrite without its module's name."""
    query: dict[str, list[Any]] = {}
    for operation, key, value in handler.query:
        step: Any = key if operation == "delete" else prune({"key": key, "val": value})
        query.setdefault(operation, []).append(step)
    for one in handler.query_replace:
        search = "search_regexp" if one.regexp else "search"
        step = prune({"key": one.field, search: one.search, "replace": one.replace})
        query.setdefault("replace", []).append(step)
    return prune(
        {
            "method": handler.method,
            "uri": handler.uri,
            "strip_path_prefix": handler.strip_path_prefix,
            "strip_path_suffix": handler.strip_path_suffix,
            "uri_substring": [
                prune({"find": find, "replace": replace, "limit": limit})
                for find, replace, limit in handler.substring
            ],
            "path_regexp": [
                prune({"find": find, "replace": replace}) for find, replace in handler.path_regexp
            ],
            "query": query,
        }
    )


def _encode_body(handler: RequestBody) -> Json:
    return prune({"max_size": handler.size_bytes_max, "set": handler.content})


def _encode_auth(handler: BasicAuth) -> Json:
    argon = any(hashed.startswith("$argon2id$") for _, hashed in handler.accounts)
    provider: Json = {
        "hash": {"algorithm": "argon2id" if argon else "bcrypt"},
        "hash_cache": {},
    }
    if handler.accounts:
        provider["accounts"] = [{"username": name, "password": hashed} for name, hashed in handler.accounts]
    if handler.realm != "restricted":
        provider["realm"] = handler.realm
    return {"providers": {"http_basic": provider}}


def _encode_variables(handler: SetVariables) -> Json:
    return {name: literal(value) if name in handler.literals else value for name, value in handler.variables}


def _encode_intercept(handler: Intercept) -> Json:
    return prune({"handle_response": answers.encode_response_handlers(handler.handlers, encode_routes)})


def _encode_proxy(handler: ReverseProxy) -> Json:
    balancing: Json = {
        "retries": handler.retries,
        "try_duration": nanoseconds(handler.try_duration_ms),
        "try_interval": nanoseconds(handler.try_interval_ms),
        "selection_policy": encode_policy(handler.selection),
        "retry_match": encode_sets(handler.retry_match),
    }
    headers = {
        "request": encode_operations(handler.request_headers),
        "response": encode_operations(handler.response_headers),
    }
    return prune(
        {
            "transport": encode_fastcgi(handler.fastcgi, handler.transport)
            if handler.fastcgi is not None
            else encode_transport(handler.transport),
            "load_balancing": prune(balancing),
            "health_checks": encode_health(handler.active_health, handler.passive_health),
            "upstreams": [{"dial": upstream.dial} for upstream in handler.upstreams],
            "dynamic_upstreams": encode_source(handler.dynamic),
            "flush_interval": nanoseconds(handler.flush_interval_ms),
            "request_buffers": handler.request_buffers_bytes,
            "response_buffers": handler.response_buffers_bytes,
            "stream_buffer_size": handler.stream_buffer_bytes,
            "stream_timeout": nanoseconds(handler.stream_timeout_ms),
            "stream_close_delay": nanoseconds(handler.stream_close_delay_ms),
            "verbose_logs": handler.verbose_logs,
            "trusted_proxies": list(handler.trusted_proxies),
            "headers": prune(headers),
            "rewrite": encode_rewrite(handler.rewrite) if handler.rewrite else {},
            "handle_response": answers.encode_response_handlers(handler.response_handlers, encode_routes),
            "zeroserve": encode_resilience(handler.resilience),
        }
    )


_ENCODERS: dict[type[Handler], tuple[str, Callable[[Any], Json]]] = {
    AppendLog: ("log_append", requests.encode_log_field),
    BasicAuth: ("authentication", _encode_auth),
    Encode: ("encode", encode_encode),
    Templates: ("templates", encode_templates),
    CopyResponse: ("copy_response", answers.encode_copy_response),
    CopyResponseHeaders: ("copy_response_headers", answers.encode_copy_headers),
    FileServer: ("file_server", encode_file_server),
    Headers: ("headers", _encode_headers),
    CallPlugin: ("zeroserve_call", requests.encode_call),
    AttachPlugin: ("zeroserve_plugin", requests.encode_attachment),
    LimitRate: ("rate_limit", requests.encode_rates),
    KeepAnswers: ("cache", traffic.encode_cache),
    InjectFault: ("fault", traffic.encode_fault),
    LimitConcurrency: ("concurrency", traffic.encode_concurrency),
    LimitBandwidth: ("bandwidth", traffic.encode_bandwidth),
    Intercept: ("intercept", _encode_intercept),
    MapValues: ("map", requests.encode_map),
    NameLoggers: ("vars", requests.encode_loggers),
    Invoke: ("invoke", lambda handler: {"name": handler.name}),
    RaiseError: ("error", _encode_error),
    RequestBody: ("request_body", _encode_body),
    ReverseProxy: ("reverse_proxy", _encode_proxy),
    Rewrite: ("rewrite", encode_rewrite),
    SetVariables: ("vars", _encode_variables),
    StaticResponse: ("static_response", _encode_response),
    Subroute: ("subroute", _encode_subroute),
    Trace: ("tracing", requests.encode_trace),
}
