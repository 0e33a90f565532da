"""Handlers and matchers of the tree as the directives that make them.

In: one handler, split beforehand so that one directive says it. Out: the directive's name with its words
and the lines of its block. Called by the printer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from zeroserve_ir.caddyfile.encoding import escape_regexp, exact_pattern, prefix_pattern
from zeroserve_ir.caddyfile.encoding_fastcgi import fastcgi_lines
from zeroserve_ir.caddyfile.meaning.reading import is_status
from zeroserve_ir.caddyfile.meaning.responding import browser_redirect_target
from zeroserve_ir.caddyfile.printer_answers import (
    copy_headers_words,
    copy_response_words,
    response_match_lines,
)
from zeroserve_ir.caddyfile.printer_encode import encode_lines, templates_lines
from zeroserve_ir.caddyfile.printer_files import file_matcher_lines, file_server_words
from zeroserve_ir.caddyfile.printer_requests import expression_line, print_request_handler, vars_regexp_line
from zeroserve_ir.caddyfile.printer_traffic import print_traffic_handler
from zeroserve_ir.caddyfile.printer_upstreams import (
    print_active,
    print_duration,
    print_passive,
    print_policy,
    print_resilience,
    print_source,
    print_transport,
)
from zeroserve_ir.caddyfile.printer_words import UnprintableError, block, line, word
from zeroserve_ir.tree import (
    NO_HEADER_OPERATIONS,
    AppendLog,
    AttachPlugin,
    BasicAuth,
    CallPlugin,
    CopyResponse,
    CopyResponseHeaders,
    Handler,
    HeaderOperations,
    HeaderReplacement,
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
    SetVariables,
    StaticResponse,
    Trace,
)
from zeroserve_ir.tree_carried import Carried, CarriedHandler, CarriedMatcher
from zeroserve_ir.tree_encode import Encode
from zeroserve_ir.tree_files import FileServer, MatchFile
from zeroserve_ir.tree_templates import Templates
from zeroserve_ir.tree_traffic import InjectFault, KeepAnswers, LimitBandwidth, LimitConcurrency


@dataclass(frozen=True, slots=True)
class Directive:
    """A directive without its matcher: `words` are quoted, `lines` its block (None: no block)."""

    name: str
    words: tuple[str, ...] = ()
    lines: tuple[str, ...] | None = None


_PLAIN_STEPS = ("method", "uri", "strip_path_prefix", "strip_path_suffix")
"""Steps of a rewrite that are one text each."""


def split_handler(handler: Handler) -> tuple[Handler, ...]:
    """Split a handler into such as one directive says each, in the order in which they act."""
    match handler:
        case Rewrite():
            default = Rewrite()
            parts = [
                replace(default, **{one.name: getattr(handler, one.name)})
                for one in fields(Rewrite)
                if one.name in _PLAIN_STEPS and getattr(handler, one.name)
            ]
            steps = [Rewrite(substring=(step,)) for step in handler.substring]
            steps += [Rewrite(path_regexp=(step,)) for step in handler.path_regexp]
            query = Rewrite(query=handler.query, query_replace=handler.query_replace)
            return (*parts, *steps, *((query,) if query != default else ()))
        case Headers():
            plain = replace(handler.response, default=())
            conditional = HeaderOperations(default=handler.response.default)
            empty = handler.deferred and not handler.request and not conditional
            return (
                *(Headers(request=one) for one in _split_operations(handler.request)),
                *(
                    (replace(handler, request=NO_HEADER_OPERATIONS, response=plain),)
                    if plain or empty
                    else ()
                ),
                *((Headers(response=conditional),) if conditional else ()),
            )
        case StaticResponse(headers=headers) if (
            headers and not _is_redirect(handler) and browser_redirect_target(handler) is None
        ):
            setting = HeaderOperations(set=headers)
            return Headers(response=setting), replace(handler, headers=())
        case _:
            return (handler,)


def _split_operations(operations: HeaderOperations) -> list[HeaderOperations]:
    """Split request operations, of which a directive has one each, in the order in which they act."""
    return [
        *(HeaderOperations(add=(one,)) for one in operations.add),
        *(HeaderOperations(set=(one,)) for one in operations.set),
        *(HeaderOperations(delete=(one,)) for one in operations.delete),
        *(HeaderOperations(replace=(one,)) for one in operations.replace),
    ]


def print_handler(handler: Handler) -> Directive:
    """Return the directive for a handler that `split_handler` left whole."""
    match handler:
        case StaticResponse():
            return _print_response(handler)
        case RaiseError(status, message):
            return Directive("error", _message_words(message, status))
        case Rewrite():
            return _print_rewrite(handler)
        case Headers():
            return _print_headers(handler)
        case RequestBody(size, content):
            lines = [f"max_size {size}"] if size else []
            lines += [line("set", word(content, quoted=True))] if content else []
            return Directive("request_body", (), tuple(lines))
        case Intercept():
            return Directive("intercept", (), ())
        case CopyResponse():
            return Directive(*copy_response_words(handler))
        case CopyResponseHeaders():
            return Directive(*copy_headers_words(handler))
        case BasicAuth():
            return _print_auth(handler)
        case SetVariables():
            return _print_variables(handler)
        case ReverseProxy():
            return _print_proxy(handler)
        case Invoke(name):
            return Directive("invoke", (word(name),))
        case CarriedHandler(module, settings):
            return _as_written(module, settings)
        case Encode():
            return Directive("encode", (), tuple(encode_lines(handler)))
        case Templates():
            return Directive("templates", (), tuple(templates_lines(handler)))
        case FileServer():
            return Directive("file_server", *file_server_words(handler))
        case (
            CallPlugin() | AttachPlugin() | LimitRate() | MapValues() | AppendLog() | NameLoggers() | Trace()
        ):
            return Directive(*print_request_handler(handler))
        case KeepAnswers() | InjectFault() | LimitBandwidth() | LimitConcurrency():
            return Directive(*print_traffic_handler(handler))
        case _:
            raise UnprintableError(f"{type(handler).__name__} is no single directive")


def _as_written(module: str, settings: Carried) -> Directive:
    """Return what is carried as the Caddyfile had it."""
    if not settings.written:
        raise UnprintableError(f"{module} did not come from a Caddyfile")
    head, *lines = settings.written.split("\n")
    name, _, words = head.removesuffix(" {").partition(" ")
    return Directive(name, (words,) if words else (), None if not lines else _unindent(lines[:-1]))


def _unindent(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(text.removeprefix("\t") for text in lines)


def _message_words(text: str, status: str) -> tuple[str, ...]:
    if not text and is_status(status):
        return (word(status),)
    if status or is_status(text):
        return word(text, quoted=True), word(status)
    return (word(text, quoted=True),)


def _is_redirect(handler: StaticResponse) -> bool:
    names = [name for name, _ in handler.headers]
    return names == ["Location"] and not handler.body and not handler.close and bool(handler.status)


def _print_response(handler: StaticResponse) -> Directive:
    if handler.abort:
        return Directive("abort")
    if _is_redirect(handler):
        return Directive("redir", (word(handler.headers[0][1]), word(handler.status)))
    if (target := browser_redirect_target(handler)) is not None:
        return Directive("redir", (word(target, quoted=True), "html"))
    words = _message_words(handler.body, handler.status)
    return Directive("respond", words, ("close",) if handler.close else None)


def _print_rewrite(handler: Rewrite) -> Directive:
    if handler.uri:
        return Directive("rewrite", (word(handler.uri),))
    if handler.method:
        return Directive("method", (word(handler.method),))
    if handler.strip_path_prefix:
        return Directive("uri", ("strip_prefix", word(handler.strip_path_prefix)))
    if handler.strip_path_suffix:
        return Directive("uri", ("strip_suffix", word(handler.strip_path_suffix)))
    for find, replacement, limit in handler.substring:
        words = (word(find, quoted=True), word(replacement, quoted=True), *((str(limit),) if limit else ()))
        return Directive("uri", ("replace", *words))
    for find, replacement in handler.path_regexp:
        return Directive("uri", ("path_regexp", word(find, quoted=True), word(replacement, quoted=True)))
    lines = [_query_line(*step) for step in handler.query]
    return Directive("uri", ("query",), (*lines, *(_replacement_line(one) for one in handler.query_replace)))


def _query_line(operation: str, key: str, value: str) -> str:
    match operation:
        case "delete":
            return word(f"-{key}")
        case "add":
            return line(word(f"+{key}"), word(value, quoted=True))
        case "rename":
            return word(f"{key}>{value}")
        case "set":
            return line(word(key), word(value, quoted=True))
        case _:
            raise UnprintableError(f"uri query {operation} has no directive")


def _operation_lines(operations: HeaderOperations, prefix: str = "") -> list[str]:
    lines = [line(prefix, word(f"+{name}"), word(value, quoted=True)) for name, value in operations.add]
    lines += [line(prefix, word(name), word(value, quoted=True)) for name, value in operations.set]
    lines += [line(prefix, word(f"-{name}")) for name in operations.delete]
    lines += [line(prefix, word(f"?{name}"), word(value, quoted=True)) for name, value in operations.default]
    return lines + [_replacement_line(one, prefix) for one in operations.replace]


def _replacement_line(one: HeaderReplacement, prefix: str = "") -> str:
    search = one.search if one.regexp else escape_regexp(one.search)
    substitute = one.replace if one.regexp else one.replace.replace("$", "$$")
    return line(prefix, word(one.field), word(search, quoted=True), word(substitute, quoted=True))


def _print_headers(handler: Headers) -> Directive:
    if handler.request:
        (words,) = _operation_lines(handler.request)
        return Directive("request_header", (words,))
    lines = _operation_lines(handler.response)
    if handler.deferred and not handler.response.delete:
        lines.append("defer")
    if handler.require is not None:
        lines += block("match", response_match_lines(handler.require))
    return Directive("header", (), tuple(lines))


def _print_auth(handler: BasicAuth) -> Directive:
    argon = any(hashed.startswith("$argon2id$") for _, hashed in handler.accounts)
    words: tuple[str, ...] = ("argon2id",) if argon else ()
    if handler.realm != "restricted":
        words = ("argon2id" if argon else "bcrypt", word(handler.realm, quoted=True))
    lines = (line(word(name), word(hashed, quoted=True)) for name, hashed in handler.accounts)
    return Directive("basic_auth", words, tuple(lines))


def _print_variables(handler: SetVariables) -> Directive:
    if len(handler.variables) == 1 and handler.variables[0][0] == "root" and not handler.literals:
        return Directive("root", (word(handler.variables[0][1], quoted=True),))
    if handler == SetVariables((("log_skip", "true"),), ("log_skip",)):
        return Directive("log_skip")
    lines = (
        line(word(name), value if name in handler.literals else word(value, quoted=True))
        for name, value in handler.variables
    )
    return Directive("vars", (), tuple(lines))


def _print_proxy(handler: ReverseProxy) -> Directive:
    lines: list[str] = print_policy(handler.selection)
    if handler.retries:
        lines.append(f"lb_retries {handler.retries}")
    for name, value in (
        ("lb_try_duration", handler.try_duration_ms),
        ("lb_try_interval", handler.try_interval_ms),
        ("stream_timeout", handler.stream_timeout_ms),
        ("stream_close_delay", handler.stream_close_delay_ms),
    ):
        if value:
            lines.append(f"{name} {print_duration(value)}")
    for matchers in handler.retry_match:
        lines += block("lb_retry_match", print_set(matchers))
    lines += print_source(handler.dynamic)
    lines += print_active(handler.active_health)
    lines += print_passive(handler.passive_health)
    lines += print_resilience(handler.resilience)
    for name, value in (
        ("request_buffers", handler.request_buffers_bytes),
        ("response_buffers", handler.response_buffers_bytes),
        ("stream_buffer_size", handler.stream_buffer_bytes),
    ):
        if value:
            lines.append(f"{name} {value if value > 0 else 'unlimited'}")
    lines += ["verbose_logs"] if handler.verbose_logs else []
    if handler.flush_interval_ms:
        value = handler.flush_interval_ms
        lines.append(f"flush_interval {'-1' if value < 0 else print_duration(value)}")
    if handler.trusted_proxies:
        lines.append(line("trusted_proxies", *map(word, handler.trusted_proxies)))
    lines += _operation_lines(handler.request_headers, "header_up")
    lines += _operation_lines(handler.response_headers, "header_down")
    if handler.rewrite is not None:
        if handler.rewrite != Rewrite(method=handler.rewrite.method, uri=handler.rewrite.uri):
            raise UnprintableError("reverse_proxy rewrites method and uri only")
        lines += [f"method {word(handler.rewrite.method)}"] if handler.rewrite.method else []
        lines += [f"rewrite {word(handler.rewrite.uri)}"] if handler.rewrite.uri else []
    if handler.fastcgi is not None:
        lines += fastcgi_lines(handler.fastcgi, handler.transport)
    else:
        lines += print_transport(handler.transport)
    return Directive(
        "reverse_proxy", tuple(word(one.dial) for one in handler.upstreams), tuple(lines) or None
    )


# Matchers


def print_set(matchers: MatcherSet) -> list[str]:
    """Return the lines of a matcher set; a second `path_regexp` is doubly negated, as a set has one."""
    lines: list[str] = []
    patterns = 0
    for matcher in matchers:
        if isinstance(matcher, MatchPathRegexp | MatchPathExact | MatchPathPrefix):
            patterns += 1
            if patterns > 1:
                lines += block("not", block("not", _matcher_lines(matcher)))
                continue
        lines += _matcher_lines(matcher)
    return lines


def _matcher_lines(matcher: Matcher) -> list[str]:
    match matcher:
        case MatchPath(patterns):
            return [_words("path", patterns)]
        case MatchHost(hosts):
            return [_words("host", hosts)]
        case MatchMethod(methods):
            return [_words("method", methods)]
        case MatchRemoteIp(ranges):
            return [_words("remote_ip", ranges)]
        case MatchClientIp(ranges):
            return [_words("client_ip", ranges)]
        case MatchPathRegexp(pattern, name):
            return [line("path_regexp", word(name) if name else "", word(pattern, quoted=True))]
        case MatchPathExact(path):
            return [line("path_regexp", word(exact_pattern(path), quoted=True))]
        case MatchPathPrefix(path):
            return [line("path_regexp", word(prefix_pattern(path), quoted=True))]
        case MatchHeader(header_fields):
            return [one for field, values in header_fields for one in _header_lines(field, values)]
        case MatchHeaderRegexp(field, pattern, name):
            return [
                line("header_regexp", word(name) if name else "", word(field), word(pattern, quoted=True))
            ]
        case MatchQuery(keys):
            return [_words("query", (f"{key}={value}" for key, values in keys for value in values))]
        case MatchProtocol(protocol):
            return [f"protocol {protocol}"]
        case MatchVars(variables):
            return [
                line("vars", word(name), *(word(one, quoted=True) for one in values))
                for name, values in variables
            ]
        case MatchFile():
            return file_matcher_lines(matcher)
        case MatchVarsRegexp():
            return [vars_regexp_line(matcher)]
        case MatchExpression():
            return [expression_line(matcher)]
        case CarriedMatcher(module, settings):
            if not settings.written:
                raise UnprintableError(f"matcher {module} did not come from a Caddyfile")
            return settings.written.split("\n")
        case MatchErrorStatus():
            raise UnprintableError("the statuses of errors stand in handle_errors only")
        case MatchNot(sets):
            return [one for inner in sets for one in block("not", print_set(inner))]


def _words(name: str, texts: Iterable[str]) -> str:
    return line(name, *(word(text) for text in texts))


def _header_lines(field: str, values: tuple[str, ...] | None) -> list[str]:
    if values is None:
        return [f"header {word('!' + field)}"]
    return [line("header", word(field), word(value, quoted=True)) for value in values]
