"""What of a configuration is adapted but not run: findings for `run`, `validate` and `compile`.

In: a `Configuration`, from a Caddyfile or from Caddy's JSON. Out: ZS0110, an error where going without would
change an answer or open access, else a warning. `adapt` does not ask.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from zeroserve_ir.caddyfile import believing, connecting
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.regular_expressions import PatternError, check_pattern
from zeroserve_ir.sources import Span
from zeroserve_ir.tree import (
    Configuration,
    HeaderReplacement,
    Headers,
    MapValues,
    MatchHeaderRegexp,
    MatchHost,
    MatchMethod,
    MatchNot,
    MatchPath,
    MatchPathRegexp,
    MatchVarsRegexp,
    Options,
    ReverseProxy,
    Rewrite,
    Route,
    Scheme,
    SetVariables,
    Site,
    Subroute,
)
from zeroserve_ir.tree_carried import Carried, CarriedHandler, CarriedMatcher, Json
from zeroserve_ir.tree_logging import Logger

_LEVELS = ("", "debug", "info", "warn", "error", "panic", "fatal")
_SERVED_MATCHERS = ("tls",)
_HARMLESS_HANDLERS = ("push", "timeouts")
"""Handlers without which every answer is as right as with them."""

_RUN_HANDLERS = ("metrics",)
"""Those that `zeroserve run` answers itself (`caddyfile.metering`)."""

_SERVER_ERRORS = ("packet_conn_wrappers",)
"""Fields of servers that decide who a client is, or what it says."""
_SERVER_FIELDS = (*believing.FIELDS, *connecting.FIELDS, "strict_sni_host")

_TLS_ERRORS = {
    "folders": "load of tls is not supported yet: the certificates would be missing",
}
SERVED_CURVES = ("x25519mlkem768", "x25519", "secp256r1", "secp384r1")
"""Those of Caddy's that the engine has."""
_TLS13_SUITE = re.compile(r"TLS_(AES|CHACHA20)_")


def is_served_suite(name: str) -> bool:
    """Whether the engine has a cipher suite: those with AEAD and an ephemeral key."""
    return bool(_TLS13_SUITE.match(name)) or (name.startswith("TLS_ECDHE_") and "_CBC_" not in name)


_RUN_OPTIONS = (
    "admin",
    "default_bind",
    "http_port",
    "https_port",
    "layer4",
    "logging",
    "ocsp_stapling",
    "pki",
    "plugins",
    "rate_limit_store",
    "servers",
    "skip_install_trust",
)


def find_unsupported(configuration: Configuration) -> tuple[Diagnostic, ...]:
    """Return a finding for each part that nothing here acts upon."""
    found = _judge_options(configuration.options) + _judge_servers(configuration)
    others: Json = configuration.options.others.value()
    span = configuration.options.others.span
    own = (Logger(name, Carried.of(one, span=span)) for name, one in others.get("logging", {}).items())
    for logger in (*configuration.options.loggers, *own):
        found += _judge_logger(logger)
    for site in configuration.sites:
        found += _judge_site(site)
    for named in configuration.named_routes:
        found += _judge_routes(named.routes)
    return tuple(dict.fromkeys(found))


def _finding(message: str, span: Span, *, error: bool) -> Diagnostic:
    severity = Severity.ERROR if error else Severity.WARNING
    return Diagnostic(Code.ZS0110, message, span, help="remove it", severity=severity)


def _judge_options(options: Options) -> list[Diagnostic]:
    others: Json = options.others.value()
    span = options.others.span
    found = [
        _finding(f"global option {name} is not supported yet and has no effect", span, error=False)
        for name in others
        if name not in _RUN_OPTIONS
    ]
    for server in others.get("servers", ()):
        fields: Json = server["server"]
        for name, value in fields.items():
            served = name == "protocols" and "h1" in value
            if served or name in _SERVER_FIELDS:
                continue
            error = name in _SERVER_ERRORS
            found.append(_finding(f"{name} of servers is not supported yet", span, error=error))
        found += [_finding(message, span, error=False) for message in connecting.find_lost_bounds(fields)]
    return found


def _judge_servers(configuration: Configuration) -> list[Diagnostic]:
    span = configuration.options.others.span
    return [
        Diagnostic(Code.ZS0110, message, span, help=cure)
        for server, fields in connecting.find_server_fields(configuration)
        for message, cure in connecting.find_refusals(server, fields)
    ]


def _judge_site(site: Site) -> list[Diagnostic]:
    found = _judge_routes((*site.routes, *site.errors))
    for logger in site.loggers:
        found += _judge_logger(logger)
    for place in site.bind:
        if "{" not in place:
            found += _judge_place(place, site.span)
    for address, _ in site.protocols:
        found.append(_finding(f"protocols of bind {address} have no effect yet", site.span, error=False))
    for directive in site.tls.directives if site.tls else ():
        settings: Json = directive.value()
        policy: Json = settings.pop("policy", {})
        found += _judge_tls_policy(policy, directive.span)
        settings.pop("files", None)
        if settings.get("issuers") == [{"module": "internal"}]:
            del settings["issuers"]
        for name in settings:
            message = _TLS_ERRORS.get(name, f"{name} of tls is not supported yet and has no effect")
            found.append(_finding(message, directive.span, error=name in _TLS_ERRORS))
    return found


def _judge_place(place: str, span: Span) -> list[Diagnostic]:
    try:
        connecting.make_listener(place, 80, Scheme.HTTP)
    except ValueError as error:
        return [Diagnostic(Code.ZS0110, str(error), span, help=connecting.PLACE_CURE)]
    return []


def _judge_tls_policy(policy: Json, span: Span) -> list[Diagnostic]:
    lacking = [name for name in policy.get("cipher_suites", ()) if not is_served_suite(name)]
    lacking += [name for name in policy.get("curves", ()) if name not in SERVED_CURVES]
    found = [_finding(f"{name} of tls is not offered", span, error=False) for name in lacking]
    if "insecure_secrets_log" in policy:
        message = "insecure_secrets_log of tls is not supported yet and has no effect"
        found.append(_finding(message, span, error=False))
    return found


def _judge_logger(logger: Logger) -> list[Diagnostic]:
    settings: Json = logger.settings.value()
    writer: Json = settings.get("writer", {})
    span = logger.settings.span
    found = []
    if str(settings.get("level", "")).lower() not in _LEVELS:
        message = f"{settings['level']} is no level of log"
        found.append(Diagnostic(Code.ZS0103, message, span, help="write DEBUG, INFO, WARN or ERROR"))
    if "core" in settings:
        found.append(_finding("core of log is not supported and has no effect", span, error=False))
    if writer.get("roll_compression") == "zstd":
        found.append(_finding("rolled log files are compressed with gzip, not zstd", span, error=False))
    return found


def _judge_routes(routes: Sequence[Route]) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    for route in routes:
        for message, cure in _find_refused(route.matchers):
            found.append(Diagnostic(Code.ZS0103, message, route.span, help=cure))
        for name, span in _carried_matchers(route.matchers):
            found.append(_finding(f"matcher {name} is not supported yet", span, error=True))
        found += _judge_patterns(route)
        for handler in route.handlers:
            match handler:
                case Subroute(inner, errors):
                    found += _judge_routes((*inner, *errors))
                case CarriedHandler(module, settings) if module not in _RUN_HANDLERS:
                    harmless = module in _HARMLESS_HANDLERS
                    found.append(
                        _finding(f"{module} is not supported yet", settings.span, error=not harmless)
                    )
                case SetVariables(variables) if any(name == "fs" for name, _ in variables):
                    found.append(_finding("other file systems are not supported", route.span, error=True))
    return found


def _judge_patterns(route: Route) -> list[Diagnostic]:
    """Judge regular expressions: Caddy's JSON is not read word by word, as a Caddyfile is."""
    found = []
    matchers = (pattern for one in route.matchers for pattern in _patterns_of_set(one))
    handlers = (pattern for one in route.handlers for pattern in _patterns_of_handler(one))
    for pattern in (*matchers, *handlers):
        try:
            check_pattern(pattern)
        except PatternError as error:
            message = f"invalid regular expression {pattern}: {error}"
            found.append(Diagnostic(Code.ZS0106, message, route.span, help=error.cure))
    return found


def _patterns_of_set(matchers: Iterable[object]) -> Iterable[str]:
    for matcher in matchers:
        match matcher:
            case (
                MatchPathRegexp(pattern=pattern)
                | MatchHeaderRegexp(pattern=pattern)
                | MatchVarsRegexp(pattern=pattern)
            ):
                yield pattern
            case MatchNot(sets=inner):
                for one in inner:
                    yield from _patterns_of_set(one)


def _patterns_of_handler(handler: object) -> Iterable[str]:
    match handler:
        case Headers(request, response):
            yield from _patterns_of_replacements((*request.replace, *response.replace))
        case Rewrite(path_regexp=steps, query_replace=replacements):
            yield from (find for find, _ in steps)
            yield from _patterns_of_replacements(replacements)
        case MapValues(mappings=mappings):
            yield from (one.input for one in mappings if one.regexp)
        case ReverseProxy(request_headers=request, response_headers=response, rewrite=rewrite):
            yield from _patterns_of_replacements((*request.replace, *response.replace))
            yield from _patterns_of_handler(rewrite)


def _patterns_of_replacements(replacements: Iterable[HeaderReplacement]) -> Iterable[str]:
    return (one.search for one in replacements if one.regexp)


def _carried_matchers(sets: Iterable[Sequence[object]]) -> Iterable[tuple[str, Span]]:
    for one in sets:
        for matcher in one:
            if isinstance(matcher, CarriedMatcher) and matcher.module not in _SERVED_MATCHERS:
                yield matcher.module, matcher.settings.span
            elif isinstance(matcher, MatchNot):
                yield from _carried_matchers(matcher.sets)


def _find_refused(sets: Iterable[Sequence[object]]) -> Iterable[tuple[str, str]]:
    """Yield what stock Caddy refuses when it starts, each with its cure."""
    for one in sets:
        for matcher in one:
            match matcher:
                case MatchPath(patterns=()):
                    yield "matcher path has no pattern", "write a path behind it"
                case MatchHost(hosts=()):
                    yield "matcher host has no name", "write a name behind it"
                case MatchMethod(methods=()):
                    yield "matcher method has no method", "write a method behind it"
                case MatchHost(hosts=hosts) if len({host.lower() for host in hosts}) < len(hosts):
                    yield "matcher host has a name twice", "write it once"
                case (
                    MatchPathRegexp(name=name) | MatchHeaderRegexp(name=name) | MatchVarsRegexp(name=name)
                ) if name and not re.search(r"\w", name, re.ASCII):
                    yield f"{name} is no name of a pattern", "write it with letters"
                case MatchNot(sets=inner):
                    yield from _find_refused(inner)
