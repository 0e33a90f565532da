"""Caddy's JSON of handlers and matchers as values of the tree: the inverse of `encoding`.

In: objects of Caddy's modules. Out: handlers and matchers that encode to the same object again; what does not
is carried as it is, so that nothing is lost and nothing is run with a part of its settings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from zeroserve_ir.caddyfile.decoding_answers import (
    ANSWER_HANDLERS,
    DecodeRoutes,
    decode_response_handlers,
    decode_response_match,
)
from zeroserve_ir.caddyfile.decoding_requests import REQUEST_HANDLERS, REQUEST_MATCHERS, decode_loggers, spell
from zeroserve_ir.caddyfile.decoding_upstreams import (
    decode_active_health,
    decode_encode,
    decode_fastcgi,
    decode_passive_health,
    decode_policy,
    decode_resilience,
    decode_source,
    decode_templates,
    decode_transport,
    milliseconds,
    settle_durations,
)
from zeroserve_ir.caddyfile.encoding import encode_handler, encode_set
from zeroserve_ir.sources import NOWHERE, Span
from zeroserve_ir.tree import (
    BasicAuth,
    Handler,
    HeaderOperations,
    HeaderReplacement,
    Headers,
    Intercept,
    Invoke,
    MatchClientIp,
    Matcher,
    MatcherSet,
    MatchHeader,
    MatchHeaderRegexp,
    MatchHost,
    MatchMethod,
    MatchNot,
    MatchPath,
    MatchPathRegexp,
    MatchProtocol,
    MatchQuery,
    MatchRemoteIp,
    MatchVars,
    NameLoggers,
    RaiseError,
    RequestBody,
    ResponseHandler,
    ReverseProxy,
    Rewrite,
    SetVariables,
    StaticResponse,
    Upstream,
)
from zeroserve_ir.tree_carried import Carried, CarriedHandler, CarriedMatcher, Json

Refused = (KeyError, TypeError, ValueError, AttributeError)
"""What a decoder raises for a shape that it does not know; the object is then carried."""


def decode_handler(encoded: Json, span: Span, decode_routes: DecodeRoutes) -> Handler:
    """Decode one handler other than a subroute; `decode_routes` reads the routes inside it, by their path."""
    module = encoded["handler"]
    settings = {key: value for key, value in encoded.items() if key != "handler"}
    decode = _HANDLERS.get(module)
    if decode is not None:
        try:
            known = settle_durations(settings) if module == "reverse_proxy" else settings
            handler = decode(known)
            if "handle_response" in settings:
                handler = _with_responses(
                    handler, decode_response_handlers(settings["handle_response"], decode_routes)
                )
            if encode_handler(handler) == {"handler": module, **known}:
                return handler
        except Refused:
            pass
    return CarriedHandler(module, Carried.of(settings, span=span))


def _with_responses(handler: Handler, responses: tuple[ResponseHandler, ...]) -> Handler:
    match handler:
        case Intercept():
            return Intercept(responses)
        case ReverseProxy():
            return replace(handler, response_handlers=responses)
        case _:
            return handler


def decode_set(encoded: Json, span: Span) -> MatcherSet:
    """Decode a matcher set, modules by name."""
    return tuple(
        matcher for module in sorted(encoded) for matcher in _decode_module(module, encoded[module], span)
    )


def _decode_module(module: str, value: Any, span: Span) -> tuple[Matcher, ...]:
    if module == "not" and isinstance(value, list):
        return (MatchNot(tuple(decode_set(one, span) for one in value)),)
    decode = _MATCHERS.get(module)
    if decode is not None:
        try:
            found = decode(value)
            if encode_set(found) == {module: value}:
                return found
        except Refused:
            pass
    return (CarriedMatcher(module, Carried.of(value, span=span)),)


def _pairs(values: Json) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((name, tuple(values[name])) for name in sorted(values))


_MATCHERS: dict[str, Callable[[Any], tuple[Matcher, ...]]] = {
    **REQUEST_MATCHERS,
    "path": lambda value: (MatchPath(tuple(value or ())),),
    "path_regexp": lambda value: (MatchPathRegexp(value["pattern"], value.get("name", "")),),
    "host": lambda value: (MatchHost(tuple(value or ())),),
    "method": lambda value: (MatchMethod(tuple(value or ())),),
    "protocol": lambda value: (MatchProtocol(value),),
    "remote_ip": lambda value: (MatchRemoteIp(tuple(value.get("ranges", ()))),),
    "client_ip": lambda value: (MatchClientIp(tuple(value.get("ranges", ()))),),
    "query": lambda value: (MatchQuery(_pairs(value)),),
    "vars": lambda value: (MatchVars(_pairs(value)),),
    "header": lambda value: (
        MatchHeader(
            tuple((name, None if value[name] is None else tuple(value[name])) for name in sorted(value))
        ),
    ),
    "header_regexp": lambda value: tuple(
        MatchHeaderRegexp(name, value[name]["pattern"], value[name].get("name", "")) for name in sorted(value)
    ),
}


# Handlers


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _flat(fields: Json | None) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name in fields or {} for value in (fields or {})[name])


def _decode_response(found: Json) -> StaticResponse:
    return StaticResponse(
        status=_text(found.get("status_code")),
        body=found.get("body", ""),
        headers=_flat(found.get("headers")),
        close=found.get("close", False),
        abort=found.get("abort", False),
    )


def _decode_operations(found: Json) -> HeaderOperations:
    replacements = tuple(
        HeaderReplacement(
            field,
            one.get("search_regexp", one.get("search", "")),
            one.get("replace", ""),
            "search_regexp" in one,
        )
        for field, entries in found.get("replace", {}).items()
        for one in entries
    )
    require = found.get("require", {})
    required = require.get("headers", {}) if _is_default(require) else {}
    given = _flat(found.get("set"))
    return HeaderOperations(
        add=_flat(found.get("add")),
        set=tuple(pair for pair in given if pair[0] not in required),
        default=tuple(pair for pair in given if pair[0] in required),
        delete=tuple(found.get("delete", ())),
        replace=replacements,
    )


def _is_default(require: Json) -> bool:
    """Whether a response matcher is what `?Field value` writes: fields that are absent."""
    return set(require) == {"headers"} and not any(require["headers"].values())


def _decode_headers(found: Json) -> Headers:
    response = found.get("response", {})
    require = response.get("require")
    return Headers(
        _decode_operations(found.get("request", {})),
        _decode_operations(response),
        response.get("deferred", False),
        None if require is None or _is_default(require) else decode_response_match(require),
    )


def _decode_rewrite(found: Json) -> Rewrite:
    query = [
        (operation, one, "") if isinstance(one, str) else (operation, one["key"], one.get("val", ""))
        for operation in ("rename", "set", "add", "delete")
        for one in found.get("query", {}).get(operation, ())
    ]
    return Rewrite(
        method=found.get("method", ""),
        uri=found.get("uri", ""),
        strip_path_prefix=found.get("strip_path_prefix", ""),
        strip_path_suffix=found.get("strip_path_suffix", ""),
        substring=tuple(
            (one.get("find", ""), one.get("replace", ""), one.get("limit", 0))
            for one in found.get("uri_substring", ())
        ),
        path_regexp=tuple(
            (one.get("find", ""), one.get("replace", "")) for one in found.get("path_regexp", ())
        ),
        query=tuple(query),
        query_replace=tuple(
            HeaderReplacement(
                one.get("key", ""),
                one.get("search_regexp", one.get("search", "")),
                one.get("replace", ""),
                "search_regexp" in one,
            )
            for one in found.get("query", {}).get("replace", ())
        ),
    )


def _decode_variables(found: Json) -> SetVariables | NameLoggers:
    if set(found) == {"access_logger_names"}:
        return decode_loggers(found)
    literals = tuple(name for name, value in found.items() if not isinstance(value, str))
    texts = {name: spell(value) for name, value in found.items()}
    return SetVariables(tuple(texts.items()), literals)


def _decode_auth(found: Json) -> BasicAuth:
    provider = found["providers"]["http_basic"]
    accounts = tuple((one["username"], one["password"]) for one in provider.get("accounts", ()))
    return BasicAuth(accounts, provider.get("realm", "restricted"))


def _decode_proxy(found: Json) -> ReverseProxy:
    balancing, headers = found.get("load_balancing", {}), found.get("headers", {})
    checks = found.get("health_checks", {})
    return ReverseProxy(
        tuple(Upstream(one["dial"]) for one in found.get("upstreams", ())),
        selection=decode_policy(balancing.get("selection_policy")),
        transport=decode_transport(found.get("transport", {})),
        fastcgi=decode_fastcgi(found.get("transport", {})),
        request_headers=_decode_operations(headers.get("request", {})),
        response_headers=_decode_operations(headers.get("response", {})),
        rewrite=_decode_rewrite(found["rewrite"]) if "rewrite" in found else None,
        retries=balancing.get("retries", 0),
        try_duration_ms=milliseconds(balancing.get("try_duration")),
        try_interval_ms=milliseconds(balancing.get("try_interval")),
        retry_match=tuple(decode_set(one, NOWHERE) for one in balancing.get("retry_match", ())),
        dynamic=decode_source(found.get("dynamic_upstreams")),
        active_health=decode_active_health(checks.get("active")),
        passive_health=decode_passive_health(checks.get("passive")),
        request_buffers_bytes=found.get("request_buffers", 0),
        response_buffers_bytes=found.get("response_buffers", 0),
        stream_buffer_bytes=found.get("stream_buffer_size", 0),
        stream_timeout_ms=milliseconds(found.get("stream_timeout")),
        stream_close_delay_ms=milliseconds(found.get("stream_close_delay")),
        verbose_logs=found.get("verbose_logs", False),
        flush_interval_ms=milliseconds(found.get("flush_interval")),
        trusted_proxies=tuple(found.get("trusted_proxies", ())),
        resilience=decode_resilience(found.get("zeroserve")),
    )


_HANDLERS: dict[str, Callable[[Json], Handler]] = {
    "authentication": _decode_auth,
    "encode": decode_encode,
    "templates": decode_templates,
    "error": lambda found: RaiseError(_text(found.get("status_code")), found.get("error", "")),
    "headers": _decode_headers,
    "invoke": lambda found: Invoke(found["name"]),
    "request_body": lambda found: RequestBody(found.get("max_size", 0), found.get("set", "")),
    "reverse_proxy": _decode_proxy,
    "rewrite": _decode_rewrite,
    "static_response": _decode_response,
    "vars": _decode_variables,
    "intercept": lambda _: Intercept(()),
    **ANSWER_HANDLERS,
    **REQUEST_HANDLERS,
}
