"""Servers of Caddy's JSON as the sites that are run.

In: an `AdaptedConfiguration`. Out: a `Configuration`, and findings about what has no place in it. A server
whose routes are one for each host, as `adapt` writes them, becomes a site for each; any other one site for
all hosts, which decides by its host matchers as Caddy does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from zeroserve_ir.caddyfile.connecting import settle_server_fields
from zeroserve_ir.caddyfile.listening import listen_address
from zeroserve_ir.caddyfile.meaning.reading import parse_duration_ns, round_to_ms
from zeroserve_ir.caddyfile.settling_logs import settle_loggers, settle_server_logs
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.drafting_environment import fill_variables
from zeroserve_ir.sources import Span
from zeroserve_ir.tree import (
    CertificateFiles,
    Configuration,
    MatchHost,
    Options,
    Route,
    Scheme,
    Site,
    SiteAddress,
    SiteTls,
    Subroute,
)
from zeroserve_ir.tree_carried import Carried, Json
from zeroserve_ir.tree_servers import AdaptedConfiguration, AdaptedServer

_HTTP_FIELDS = ("http_port", "https_port", "grace_period", "servers")
_TLS_WARNINGS = ("automation", "cache", "dns", "encrypted_client_hello", "resolvers", "session_tickets")


def settle_configuration(
    adapted: AdaptedConfiguration, environment: Mapping[str, str] | None = None
) -> tuple[Configuration, list[Diagnostic]]:
    """Return the sites and options of a configuration; `environment` fills in `{env.*}` of `listen`."""
    return _Settling(adapted, environment or {}).run()


@dataclass(frozen=True, slots=True)
class _Place:
    """Addresses that a server listens on, and their ports; no port where they are Unix sockets."""

    bind: tuple[str, ...]
    ports: tuple[int, ...]


class _Settling:
    def __init__(self, adapted: AdaptedConfiguration, environment: Mapping[str, str]) -> None:
        self.adapted = adapted
        self.environment = environment
        self.whole: Json = adapted.others.value()
        self.http = part(self.whole, "apps", "http")
        self.tls = part(self.whole, "apps", "tls")
        self.span = adapted.others.span
        self.diagnostics: list[Diagnostic] = []
        self.options = Options()

    def run(self) -> tuple[Configuration, list[Diagnostic]]:
        placed = [(server, self.place(server)) for server in self.adapted.servers]
        self.settle_options(placed)
        sites = tuple(site for server, places in placed for site in self.settle_server(server, places))
        named = {one.name: one for server in self.adapted.servers for one in server.named_routes}
        return Configuration(sites, self.options, tuple(named.values())), self.diagnostics

    def warn(self, message: str, span: Span) -> None:
        self.diagnostics.append(
            Diagnostic(Code.ZS0110, message, span, help="remove it", severity=Severity.WARNING)
        )

    def settle_options(self, placed: list[tuple[AdaptedServer, list[_Place]]]) -> None:
        admin = part(self.whole, "admin")
        servers = [one.others.value() for one in self.adapted.servers]
        automatic = [part(one, "automatic_https") for one in servers]
        others = [entry for server, places in placed for entry in self.settle_server_options(server, places)]
        self.options = Options(
            http_port=self.number("http_port", 80),
            https_port=self.number("https_port", 443),
            auto_https=not automatic or not all(one.get("disable") for one in automatic),
            redirects=not any(one.get("disable_redirects") for one in automatic),
            admin="off" if admin.get("disabled") else str(admin.get("listen", self.options.admin)),
            grace_period_ms=self.duration_ms("grace_period"),
            debug=part(self.whole, "logging", "logs", "default").get("level") == "DEBUG",
            others=Carried.of(
                self.settle_logging() | ({"servers": others} if others else {}), span=self.span
            ),
        )
        for name in sorted({*self.http} - {*_HTTP_FIELDS}):
            self.warn(f"apps.http.{name} is not supported yet and has no effect", self.span)
        for name in _TLS_WARNINGS:
            if name in self.tls and not (name == "automation" and self.is_internal()):
                self.warn(f"apps.tls.{name} is not supported yet and has no effect", self.span)
        for name in sorted({*part(self.whole, "apps")} - {"http", "tls", "pki"}):
            self.refuse(f"app {name} is not supported", self.span, "remove it")

    def settle_server_options(self, server: AdaptedServer, places: list[_Place]) -> list[Json]:
        """Return the option `servers` with what no site says, its `logs` among it: an entry for each port."""
        fields, faults = settle_server_fields(server.others.value())
        for fault in faults:
            self.refuse(fault, server.others.span, "write it as Caddy's documentation has it")
        settled: Json = {
            "server": {key: value for key, value in fields.items() if key not in _SETTLED_FIELDS}
        }
        if "logs" in fields:
            settled["logs"], sound = settle_server_logs(fields["logs"])
            if not sound:
                self.refuse(
                    "logs of the server are not as Caddy has them", server.others.span, "correct them"
                )
        if not settled["server"] and "logs" not in settled:
            return []
        return [
            {"listener": listen_address(bind, port), **settled}
            for place in places
            for bind in (place.bind or ("",))[:1]
            for port in place.ports or (0,)
        ]

    def settle_logging(self) -> Json:
        """Return the loggers as the option `logging`, which the Caddyfile has in other words."""
        loggers, faults = settle_loggers(part(self.whole, "logging").get("logs", {}))
        for path, message in faults:
            self.refuse(
                f"logging.logs{path} {message}", self.span, "write it as Caddy's documentation has it"
            )
        return {"logging": loggers} if loggers else {}

    def refuse(self, message: str, span: Span, cure: str) -> None:
        self.diagnostics.append(Diagnostic(Code.ZS0110, message, span, help=cure))

    def number(self, name: str, default: int) -> int:
        value = self.http.get(name, default)
        if isinstance(value, int) and value >= 0:
            return value
        self.refuse(f"apps.http.{name} is no number of this kind", self.span, "write it without a unit")
        return default

    def duration_ms(self, name: str) -> int:
        """Return one of nanoseconds or of text (caddy.Duration); 0 where there is none."""
        value = self.http.get(name, 0)
        try:
            length_ns = parse_duration_ns(value) if isinstance(value, str) else int(value)
        except (TypeError, ValueError):
            length_ns = -1
        if length_ns < 0:
            self.refuse(f"apps.http.{name} is no duration of this kind", self.span, "write for example 5s")
            return 0
        return round_to_ms(length_ns)

    def is_internal(self) -> bool:
        """Whether all certificates are to come of the authority of this machine, as they do."""
        policies = objects(part(self.tls, "automation").get("policies"))
        return bool(policies) and all(one.get("issuers") == [{"module": "internal"}] for one in policies)

    def place(self, server: AdaptedServer) -> list[_Place]:
        """Return where a server listens: an address never goes with another one's port."""
        span = server.others.span
        listeners = [found for one in server.listen for found in self.listener(one, span)]
        hosts_by_port: dict[int | None, list[str]] = {}
        for host, port in dict.fromkeys(listeners):
            hosts_by_port.setdefault(port, []).append(host)
        ports_by_bind: dict[tuple[str, ...], list[int]] = {}
        for port, hosts in hosts_by_port.items():
            bind = () if "" in hosts else tuple(hosts)
            ports_by_bind.setdefault(bind, []).extend(() if port is None else (port,))
        return [_Place(bind, tuple(ports)) for bind, ports in ports_by_bind.items()]

    def settle_server(self, server: AdaptedServer, places: list[_Place]) -> list[Site]:
        others: Json = server.others.value()
        span = server.others.span
        sites = []
        for place in places:
            for names, routes in group_routes(server.routes):
                addresses = tuple(
                    self.address(name, names, port, others)
                    for port in place.ports or (None,)
                    for name in names
                )
                tls = self.settle_tls(names, objects(others.get("tls_connection_policies")), span)
                site = Site(addresses, routes, server.errors, bind=place.bind, span=span)
                sites.append(replace(site, tls=tls, access_log="logs" in others))
        return sites

    def address(self, name: str, names: tuple[str, ...], port: int | None, server: Json) -> SiteAddress:
        """Return an address of a site; one at a Unix socket has the port that is usual for its scheme."""
        scheme = self.scheme(name, names, port, server)
        usual = self.options.https_port if scheme is Scheme.HTTPS else self.options.http_port
        return SiteAddress(scheme, name, usual if port is None else port)

    def scheme(self, name: str, names: tuple[str, ...], port: int | None, server: Json) -> Scheme:
        """Return how a name is served: https by policy, or because Caddy would make it so (autohttps.go)."""
        automatic = part(server, "automatic_https")
        secure = bool(server.get("tls_connection_policies"))
        if not automatic.get("disable"):
            secure = secure or port == self.options.https_port or any(names)
        plain = port == self.options.http_port or name in strings(automatic.get("skip"))
        return Scheme.HTTPS if secure and not plain else Scheme.HTTP

    def listener(self, address: str, span: Span) -> list[tuple[str, int | None]]:
        """Return host and ports of a network address; of a Unix socket the address itself, without a port."""
        address = fill_variables(address, self.environment)
        if address.startswith(("unix/", "unix+h2c/")):
            return [(address, None)]
        found = re.fullmatch(r"(?:tcp[46]?/)?(?:\[([^\]]*)\]|([^:/\[\]]*)):(\d{1,5})(?:-(\d{1,5}))?", address)
        if not found or int(found[3]) > 65535 or int(found[4] or found[3]) - int(found[3]) not in range(100):
            message = f"cannot listen on {address}"
            self.refuse(message, span, "write HOST:PORT or unix/PATH")
            return []
        first = int(found[3])
        return [(found[1] or found[2] or "", port) for port in range(first, int(found[4] or first) + 1)]

    def settle_tls(self, names: tuple[str, ...], policies: list[Json], span: Span) -> SiteTls | None:
        """Return the certificates and versions that the policies give to names."""
        directives: list[Carried] = []
        tags: list[str] = []
        limits: Json = {}
        for policy in policies:
            if not _concerns(part(policy, "match"), names):
                continue
            tags += strings(part(policy, "certificate_selection").get("any_tag"))
            settings = {key: value for key, value in policy.items() if key not in _SELECTION}
            limits = {**settings, **limits}
            if settings:
                directives.append(Carried.of({"policy": settings}, span=span))
        files = tuple(
            CertificateFiles(str(one.get("certificate", "")), str(one.get("key", "")))
            for one in objects(part(self.tls, "certificates").get("load_files"))
            if not tags or set(tags) & set(strings(one.get("tags")))
        )
        if not files and not directives:
            return None
        return SiteTls(
            files=files,
            protocol_min=str(limits.get("protocol_min", "")),
            protocol_max=str(limits.get("protocol_max", "")),
            directives=tuple(directives),
        )


def _concerns(match: Json, names: tuple[str, ...]) -> bool:
    """Whether a policy may be the one of a name; one with other matchers than names always may."""
    return set(match) != {"sni"} or "" in names or bool(set(names) & set(strings(match["sni"])))


def part(value: Json, *keys: str) -> Json:
    """Return the object under keys; an empty one where there is none."""
    found: Any = value
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def objects(value: Any) -> list[Json]:
    """Return the objects of an array; none where there is no array."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def strings(value: Any) -> tuple[str, ...]:
    """Return the strings of an array; none where there is no array."""
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


_SELECTION = ("match", "certificate_selection")
_SETTLED_FIELDS = ("automatic_https", "logs", "tls_connection_policies")


def group_routes(routes: tuple[Route, ...]) -> list[tuple[tuple[str, ...], tuple[Route, ...]]]:
    """Return routes with the names that they are for: each by itself, or all of them for any name."""
    hosts = split_hosts(routes)
    if not routes:
        return [(("",), ())]  # A server without routes listens, and answers 200 without a body.
    if hosts is not None:
        return [(names, _unwrap(route)) for names, route in zip(hosts, routes, strict=True)]
    return [(tuple(dict.fromkeys(("", *_all_hosts(routes)))), routes)]


def split_hosts(routes: tuple[Route, ...]) -> list[tuple[str, ...]] | None:
    """Return the hosts of each route, where every one is final and for hosts of its own alone; else None."""
    found: list[tuple[str, ...]] = []
    seen: set[str] = set()
    for route in routes:
        match route.matchers:
            case ((MatchHost(hosts),),) if route.terminal and not seen & set(hosts):
                seen |= set(hosts)
                found.append(hosts)
            case () if route is routes[-1]:
                found.append(("",))
            case _:
                return None
    return found


def _unwrap(route: Route) -> tuple[Route, ...]:
    match route.handlers:
        case (Subroute(routes, ()),):
            return routes
        case _:
            return (replace(route, matchers=(), terminal=False),)


def _all_hosts(routes: Iterable[Route]) -> list[str]:
    return [
        host
        for route in routes
        for one in route.matchers
        for matcher in one
        if isinstance(matcher, MatchHost)
        for host in matcher.hosts
        if "{" not in host
    ]
