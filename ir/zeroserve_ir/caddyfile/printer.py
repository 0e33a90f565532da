"""A configuration as a Caddyfile that stock Caddy accepts and answers alike.

In: a `Configuration`, from a Caddyfile or from Kubernetes objects. Out: text. What a parsed Caddyfile
gave is printed as directives that parse to the same tree; trees of other shapes (final routes, several
matcher sets, groups of anything) are first settled into shapes that a Caddyfile has, with the same
meaning. Where the order of directives would not come out of Caddy's sorting, a `route` block holds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from zeroserve_ir.caddyfile.meaning.ordering import DIRECTIVE_ORDER, Placed, merge_routes, sort_routes
from zeroserve_ir.caddyfile.printer_answers import response_handler_lines
from zeroserve_ir.caddyfile.printer_files import tried_files, try_files_lines
from zeroserve_ir.caddyfile.printer_handlers import Directive, print_handler, print_set, split_handler
from zeroserve_ir.caddyfile.printer_words import UnprintableError, block, line, word
from zeroserve_ir.host_names import spell_authority
from zeroserve_ir.tree import (
    DEFAULT_OPTIONS,
    Configuration,
    Handler,
    Intercept,
    MatchErrorStatus,
    MatcherSet,
    MatchNot,
    MatchPath,
    Options,
    ResponseHandler,
    ReverseProxy,
    Rewrite,
    Route,
    Scheme,
    SetVariables,
    Site,
    SiteAddress,
    SiteTls,
    Subroute,
)
from zeroserve_ir.tree_carried import NOTHING_CARRIED, Carried
from zeroserve_ir.tree_logging import Logger


def print_configuration(configuration: Configuration) -> str:
    """Return the Caddyfile of a configuration; raises `UnprintableError` for what none can say."""
    parts = []
    if options := _option_lines(configuration.options):
        parts.append(block("", options))
    for named in configuration.named_routes:
        printer = _RoutePrinter()
        body = printer.routes(named.routes)
        parts.append(block(f"&({named.name})", printer.definitions + body))
    parts += [_site_lines(site, configuration.options) for site in configuration.sites]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def print_site(site: Site) -> str:
    """Return the site block of one site, under default options."""
    return "\n".join(_site_lines(site, DEFAULT_OPTIONS)) + "\n"


def _option_lines(options: Options) -> list[str]:
    lines = []
    if options.debug:
        lines.append("debug")
    lines += _written("the global options", options.others)
    for logger in options.loggers:
        lines += _written("a logger", logger.settings)
    if options.http_port != DEFAULT_OPTIONS.http_port:
        lines.append(f"http_port {options.http_port}")
    if options.https_port != DEFAULT_OPTIONS.https_port:
        lines.append(f"https_port {options.https_port}")
    if options.admin != DEFAULT_OPTIONS.admin and "admin" not in options.others.value():
        lines.append(f"admin {word(options.admin)}")
    if options.grace_period_ms:
        lines.append(f"grace_period {options.grace_period_ms}ms")
    modes = ["off"] if not options.auto_https else []
    modes += ["disable_redirects"] if not options.redirects else []
    if modes and "auto_https" not in options.others.value():
        lines.append(line("auto_https", *modes))
    if options.trusted_proxies and "servers" not in options.others.value():
        lines += block("servers", [line("trusted_proxies static", *map(word, options.trusted_proxies))])
    return lines


def _written(what: str, carried: Carried) -> list[str]:
    """Return the lines that a carried value came from."""
    if carried == NOTHING_CARRIED:
        return []
    if not carried.written:
        raise UnprintableError(f"{what}: not from a Caddyfile")
    return carried.written.split("\n")


# Sites


def _site_lines(site: Site, options: Options) -> list[str]:
    printer = _RoutePrinter()
    lines: list[str] = []
    protocols = dict(site.protocols)
    if plain := [address for address in site.bind if address not in protocols]:
        lines.append(line("bind", *map(word, plain)))
    for address, names in site.protocols:
        lines += block(line("bind", word(address)), [line("protocols", *names)])
    if site.tls is not None:
        lines += _tls_lines(site.tls)
    for logger in site.loggers:
        lines += _written("a logger", logger.settings) or _plain_log(logger)
    if site.access_log and not site.loggers:
        lines.append("log")
    body = printer.routes(site.routes)
    for route in reversed(_settle_errors(site.errors)):
        (handler,) = route.handlers
        assert isinstance(handler, Subroute)
        statuses = [word(status) for match in _error_statuses(route) for status in match.statuses]
        body += block(line("handle_errors", *statuses), printer.routes(handler.routes))
    lines += printer.definitions
    lines += body
    addresses = ", ".join(word(_address(one, options)) for one in site.addresses)
    return block(addresses, lines)


def _plain_log(logger: Logger) -> list[str]:
    head = line("log", word(logger.name) if logger.name else "")
    inner = [line("hostnames", *map(word, logger.hostnames))] if logger.hostnames else []
    inner += ["no_hostname"] if logger.no_hostname else []
    return block(head, inner) if inner else [head]


def _settle_errors(errors: tuple[Route, ...]) -> tuple[Route, ...]:
    plain = all(
        len(_error_statuses(route)) == sum(len(one) for one in route.matchers)
        and len(route.matchers) <= 1
        and len(route.handlers) == 1
        and isinstance(route.handlers[0], Subroute)
        for route in errors
    )
    return errors if plain else (Route((Subroute(errors),)),)


def _error_statuses(route: Route) -> list[MatchErrorStatus]:
    return [one for matchers in route.matchers for one in matchers if isinstance(one, MatchErrorStatus)]


def _address(address: SiteAddress, options: Options) -> str:
    host = spell_authority(address.host)
    https = address.scheme is Scheme.HTTPS
    default = options.https_port if https else options.http_port
    other = options.http_port if https else options.https_port
    if address.port == other:
        # The scheme and this port contradict each other in an address; the port alone means the scheme.
        return f"{host}:{address.port}{address.path}"
    if address.bare:
        return f"https://{address.path}"
    if host and address.port == default:
        return f"{'' if https else 'http://'}{host}{address.path}"
    return f"{address.scheme.value}://{host}:{address.port}{address.path}"


def _tls_lines(tls: SiteTls) -> list[str]:
    if tls.directives:
        first = replace(tls, directives=(), files=(), internal=False, protocol_min="", protocol_max="")
        lines = _tls_lines(first) if first.secrets else []
        return lines + [text for one in tls.directives for text in _written("tls", one)]
    limits = []
    if tls.protocol_min or tls.protocol_max:
        limits = [line("protocols", tls.protocol_min or "tls1.2", tls.protocol_max)]
    lines = [f"# certificate: Secret {name}" for name in tls.secrets]
    heads = [line("tls", word(pair.certificate), word(pair.key)) for pair in tls.files]
    if tls.internal or (tls.secrets and not heads):
        heads.append("tls internal")
    if not heads:
        heads = ["tls"] if limits else ["tls force_automate"]
    lines += heads[:-1]
    return lines + (block(heads[-1], limits) if limits else [heads[-1]])


# Routes


class _RoutePrinter:
    """Prints the routes of one site; matchers get names where they are not one inline path."""

    def __init__(self) -> None:
        self.names: dict[MatcherSet, str] = {}
        self.definitions: list[str] = []
        self.sortables: dict[tuple[Route, ...], bool] = {}

    def routes(self, routes: Sequence[Route], *, sorted_block: bool = True) -> list[str]:
        """Return the lines of a block's routes; `sorted_block` is whether Caddy sorts the block."""
        settled = settle_routes(routes)
        for plain_handle in (True, False):
            placed = self.place(settled, plain_handle=plain_handle)
            if not sorted_block or _is_sorted(placed):
                return [text for one in placed for text in self.directive(one)]
        return block("route", self.routes(settled, sorted_block=False))

    def sortable(self, routes: tuple[Route, ...]) -> bool:
        """Say whether the routes come out of Caddy's sorting in their order."""
        if routes not in self.sortables:
            settled = settle_routes(routes)
            choices = (self.place(settled, plain_handle=plain) for plain in (True, False))
            self.sortables[routes] = any(_is_sorted(placed) for placed in choices)
        return self.sortables[routes]

    def place(self, routes: Sequence[Route], *, plain_handle: bool) -> list[Placed]:
        """Name the directive of each handler, one route each.

        A block that is in no group may be a lone `handle` or a `route`; two lone ones would make a group.
        """
        grouped = any(route.group and isinstance(route.handlers[0], Subroute) for route in routes)
        free = not grouped
        placed: list[Placed] = []
        for route in routes:
            for handler in route.handlers:
                single = replace(route, handlers=(handler,))
                if tried_files(single) is not None:
                    name = "try_files"
                elif not isinstance(handler, Subroute):
                    name = print_handler(handler).name
                elif route.group or (
                    free
                    and (
                        _stripped_prefix(single, handler) or (plain_handle and self.sortable(handler.routes))
                    )
                ):
                    name = "handle"
                    free = False
                else:
                    name = "route"
                placed.append(Placed(name, single))
        return placed

    def directive(self, placed: Placed) -> list[str]:
        route = placed.route
        if placed.directive == "try_files":
            return try_files_lines(route)
        matcher = self.matcher(route.matchers)
        (handler,) = route.handlers
        if not isinstance(handler, Subroute):
            return _directive_lines(self.nesting(print_handler(handler), handler), matcher)
        if placed.directive == "handle" and (prefix := _stripped_prefix(route, handler)):
            return block(line("handle_path", word(prefix)), self.routes(handler.routes[1:]))
        if placed.directive == "handle":
            return block(line("handle", matcher), self.routes(handler.routes))
        return block(line("route", matcher), self.routes(handler.routes, sorted_block=False))

    def nesting(self, directive: Directive, handler: Handler) -> Directive:
        """Add the response handlers, whose blocks hold routes."""
        handlers: tuple[ResponseHandler, ...] = ()
        if isinstance(handler, Intercept):
            handlers = handler.handlers
        elif isinstance(handler, ReverseProxy):
            handlers = handler.response_handlers
        if not handlers:
            return directive
        lines = (*(directive.lines or ()), *response_handler_lines(handlers, self.routes))
        return replace(directive, lines=lines)

    def matcher(self, sets: tuple[MatcherSet, ...]) -> str:
        if not sets:
            return ""
        (matchers,) = sets
        match matchers:
            case (MatchPath((path,)),) if path.startswith("/"):
                return word(path)
        if matchers not in self.names:
            self.names[matchers] = f"@m{len(self.names)}"
            self.definitions += block(self.names[matchers], print_set(matchers))
        return self.names[matchers]


def _directive_lines(directive: Directive, matcher: str) -> list[str]:
    words = directive.words
    if not matcher and words and words[0].strip('"`').startswith(("/", "@", "*")):
        # The first argument would be taken for a matcher.
        matcher = "*"
    head = line(directive.name, matcher, *words)
    return [head] if directive.lines is None else block(head, directive.lines)


def _is_sorted(placed: list[Placed]) -> bool:
    return sort_routes(placed, list(DIRECTIVE_ORDER)) == placed


def _stripped_prefix(route: Route, handler: Subroute) -> str:
    """Return the path of the `handle_path` that makes this route, or "" if none does."""
    match route.matchers, handler.routes[:1]:
        case ((MatchPath((path,)),),), (Route((Rewrite(strip_path_prefix=prefix) as strip,), (), "", False),):
            stripped = path.removesuffix("/*") if path.endswith("/*") else path.removesuffix("*")
            if path.startswith("/") and prefix == stripped and strip == Rewrite(strip_path_prefix=prefix):
                return path
    return ""


# Settling: from any tree to the shapes that a Caddyfile gives


def settle_routes(routes: Sequence[Route]) -> tuple[Route, ...]:
    """Return routes of the same meaning in shapes that directives give."""
    settled: list[Route] = []
    for index, route in enumerate(routes):
        if route.terminal and index + 1 < len(routes):
            # What follows a final route is for other requests only: two blocks that exclude each other.
            rest = routes[index + 1 :]
            last = Route((Subroute(tuple(rest)),), group="final")
            first = replace(route, handlers=(_as_subroute(route),), group="final", terminal=False)
            settled += [_settle_sets(first), last]
            break
        settled.append(_settle_route(_settle_sets(replace(route, terminal=False))))
    return merge_routes(_settle_groups(settled))


def _as_subroute(route: Route) -> Subroute:
    match route.handlers:
        case (Subroute() as only,):
            return only
    return Subroute(tuple(Route((handler,)) for handler in route.handlers))


def _settle_sets(route: Route) -> Route:
    """Express "one of several sets" with negations, as a directive has one matcher."""
    if len(route.matchers) < 2:
        return route
    either: MatcherSet = (MatchNot(((MatchNot(route.matchers),),)),)
    return replace(route, matchers=(either,))


def _settle_route(route: Route) -> Route:
    handlers = tuple(part for handler in route.handlers for part in split_handler(handler))
    rewrites = [isinstance(handler, Rewrite) and bool(handler.uri) for handler in handlers]
    variables = [isinstance(handler, SetVariables) for handler in handlers]
    blocks = [isinstance(handler, Subroute) for handler in handlers]
    if any(isinstance(handler, Subroute) and handler.errors for handler in handlers):
        raise UnprintableError("error routes of a nested block have no directive")
    if tried_files(route) is not None:
        return route
    # A rewrite without a group would get one, and be matched apart from what stands beside it.
    whole = all(rewrites) or all(variables) or all(blocks) if route.group else not any(rewrites)
    if whole:
        return replace(route, handlers=handlers)
    return replace(route, handlers=(Subroute(tuple(_settle_single(handler) for handler in handlers)),))


def _settle_single(handler: Handler) -> Route:
    return Route((handler,), group="rewrite" if isinstance(handler, Rewrite) and handler.uri else "")


def _settle_groups(routes: list[Route]) -> list[Route]:
    """Leave one group of blocks, one of rewrites and one of roots; put further ones into blocks."""
    names = {kind: _group_names(routes, kind) for kind in (Subroute, Rewrite, SetVariables)}
    if all(len(found) <= 1 for found in names.values()):
        return routes
    runs = [(name, list(run)) for name, run in groupby(routes, key=lambda route: route.group)]
    seen = [name for name, _ in runs if name]
    if len(seen) != len(set(seen)):
        raise UnprintableError("groups of routes that are entangled have no directive")
    return [
        one
        for name, run in runs
        for one in ([Route((Subroute(tuple(run)),))] if name and len(run) > 1 else run)
    ]


def _group_names(routes: list[Route], kind: type) -> set[str]:
    return {route.group for route in routes if route.group and isinstance(route.handlers[0], kind)}
