"""A configuration as the JSON that `caddy adapt` prints.

In: a `Configuration`. Out: Caddy's config as plain data: servers by listener, site routes behind their
host matchers, TLS policies, logs, admin. Called by the command `adapt` and compared with stock Caddy by
the differential tests (httpcaddyfile/httptype.go, tlsapp.go). TLS is in `adapting_connections` and
`adapting_certificates`, loggers are in `adapting_logs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zeroserve_ir.caddyfile.adapting_certificates import build_tls_app
from zeroserve_ir.caddyfile.adapting_connections import connection_policies
from zeroserve_ir.caddyfile.adapting_logs import list_loggers, server_logs
from zeroserve_ir.caddyfile.encoding import encode_route, encode_routes
from zeroserve_ir.caddyfile.listening import ServedSite, Server, pair_sites
from zeroserve_ir.caddyfile.meaning.authorities import DEFAULT_AUTHORITY
from zeroserve_ir.caddyfile.meaning.files import MATCHED_FILE
from zeroserve_ir.caddyfile.meaning.ordering import EXCLUSIVE, merge_routes
from zeroserve_ir.caddyfile.meaning.proxying import copying_routes
from zeroserve_ir.caddyfile.meaning.securing import list_directives
from zeroserve_ir.tree import (
    DEFAULT_OPTIONS,
    Configuration,
    Handler,
    Invoke,
    MatcherSet,
    MatchHost,
    MatchPath,
    ReverseProxy,
    Rewrite,
    Route,
    Scheme,
    SetVariables,
    Subroute,
)
from zeroserve_ir.tree_answers import Intercept
from zeroserve_ir.tree_carried import CarriedHandler, Json
from zeroserve_ir.tree_files import MatchFile

_OWN_OPTIONS = ("plugins", "rate_limit_store")
"""Options that are ours: app `zeroserve`."""


def adapt_configuration(configuration: Configuration) -> Json:
    """Return Caddy's JSON for the configuration, as `caddy adapt` would."""
    adapter = _Adapter(configuration)
    adapted: Json = {}
    if admin := adapter.admin():
        adapted["admin"] = admin
    if loggers := list_loggers(configuration, adapter.servers):
        adapted["logging"] = {"logs": loggers}
    if "storage" in adapter.others:
        adapted["storage"] = adapter.others["storage"]
    apps: Json = {}
    if configuration.sites:
        apps["http"] = adapter.http_app()
    if tls := adapter.tls_app():
        apps["tls"] = tls
    if authorities := adapter.authorities():
        apps["pki"] = {"certificate_authorities": authorities}
    if "filesystem" in adapter.others:
        apps["caddy.filesystems"] = {"filesystems": adapter.others["filesystem"]}
    if "layer4" in adapter.others:
        apps["layer4"] = adapter.others["layer4"]
    if "events" in adapter.others:
        apps["events"] = adapter.others["events"]
    if own := {name: adapter.others[name] for name in _OWN_OPTIONS if name in adapter.others}:
        apps["zeroserve"] = own
    if apps:
        adapted["apps"] = apps
    return adapted


class _Adapter:
    def __init__(self, configuration: Configuration) -> None:
        self.sites = configuration.sites
        self.options = configuration.options
        self.others: Json = configuration.options.others.value()
        self.named_routes = {one.name: one for one in configuration.named_routes}
        self.servers = pair_sites(self.sites)
        self.groups = sum(
            _nested_groups(routes) + len(_tried_groups(routes))
            for site in self.sites
            for routes in (site.routes, site.errors)
        )
        self.directives = [list_directives(site.tls) for site in self.sites]
        self.tags = self._tag_certificates()

    def _tag_certificates(self) -> dict[str, str]:
        """Name each certificate file once, in the order of the text."""
        files = (
            certificate
            for found in self.directives
            for directive in found
            for certificate, _ in directive.get("files", ())
        )
        return {file: f"cert{index}" for index, file in enumerate(dict.fromkeys(files))}

    def admin(self) -> Json:
        """Return the admin endpoint's settings, as far as they are not Caddy's own."""
        found: Json = dict(self.others.get("admin", {}))
        listen = self.options.admin
        if not found and listen != DEFAULT_OPTIONS.admin:
            found = {"disabled": True} if listen == "off" else {"listen": listen}
        return found | ({"config": {"persist": False}} if "persist_config" in self.others else {})

    # The http app

    def http_app(self) -> Json:
        app: Json = {}
        for name in ("http_port", "https_port"):
            port = getattr(self.options, name)
            if port != getattr(DEFAULT_OPTIONS, name) or name in self.others:
                app[name] = port
        if self.options.grace_period_ms:
            app["grace_period"] = self.options.grace_period_ms * 1_000_000
        if self.others.get("shutdown_delay"):
            app["shutdown_delay"] = self.others["shutdown_delay"]
        servers: Json = {}
        metrics: Json | None = self.others.get("metrics")
        for index, server in enumerate(self.servers):
            name, encoded = self.server(server)
            own: Json | None = encoded.pop("metrics", None)
            if own is not None:
                # Metrics of a server hold for all of them (httptype.go).
                per_host = bool((metrics or {}).get("per_host") or own.get("per_host"))
                metrics = {"per_host": True} if per_host else {}
            servers[name or f"srv{index}"] = encoded
        if metrics is not None:
            app["metrics"] = metrics
        app["servers"] = servers
        return app

    def server(self, server: Server) -> tuple[str, Json]:
        """Return a server with the name that the options give it, or ""."""
        encoded: Json = {"listen": list(server.listen)} if server.listen else {}
        if server.protocols:
            encoded["listen_protocols"] = [list(names) if names else None for names in server.protocols]
        routes: list[Route] = []
        errors: list[Route] = []
        alone = len(server.sites) == 1
        for served in server.sites:
            site = self.sites[served.index]
            matchers = _site_matchers(served)
            routes += _wrap_site(self._numbered(site.routes), matchers, alone=alone)
            if site.errors:
                errors += _wrap_site(site.errors, matchers, alone=alone)
        if routes:
            encoded["routes"] = encode_routes(merge_routes(routes))
        if errors:
            encoded["errors"] = {"routes": [encode_route(route) for route in errors]}
        if named := self.invoked(server):
            encoded["named_routes"] = named
        policies = connection_policies(
            server, self.directives.__getitem__, self.tags, self.options, self.others
        )
        if policies:
            encoded["tls_connection_policies"] = policies
        if automation := self.automation(server):
            encoded["automatic_https"] = automation
        logs = server_logs(server, self.sites)
        name, settings, more_logs = self.settings(server)
        if logs is not None or more_logs:
            encoded["logs"] = (logs or {}) | more_logs
        return name, encoded | settings

    def settings(self, server: Server) -> tuple[str, Json, Json]:
        """Return name, fields and log settings that the option `servers` gives a server."""
        for one in self.others.get("servers", ()):
            if not one["listener"] or one["listener"] in server.listen:
                return one.get("name", ""), one["server"], one.get("logs", {})
        ranges = self.options.trusted_proxies
        if ranges and "servers" not in self.others:
            return "", {"trusted_proxies": {"source": "static", "ranges": list(ranges)}}, {}
        return "", {}, {}

    def invoked(self, server: Server) -> Json:
        """Return the named routes that the server's sites invoke, directly or through others."""
        wanted: list[str] = []
        for served in server.sites:
            site = self.sites[served.index]
            wanted += _find_invoked((*site.routes, *site.errors))
        found: Json = {}
        while wanted:
            name = wanted.pop(0)
            if name not in found and name in self.named_routes:
                routes = self.named_routes[name].routes
                found[name] = encode_route(_single_route(routes))
                wanted += _find_invoked(routes)
        return found

    def _numbered(self, routes: Sequence[Route]) -> tuple[Route, ...]:
        """Number a site's own groups as if it were built now: once for each server that it is in."""
        roles: dict[str, str] = {}
        tried = _tried_groups(routes)
        for route in routes:
            if route.group and route.group not in tried:
                roles.setdefault(_exclusive_directive(route), route.group)
        rename: dict[str, str] = {}
        for directive in EXCLUSIVE:
            if directive in roles or directive == "rewrite":
                if directive in roles:
                    rename[roles[directive]] = f"group{self.groups}"
                self.groups += 1
        return tuple(replace(route, group=rename.get(route.group, route.group)) for route in routes)

    def automation(self, server: Server) -> Json:
        automation: Json = {}
        modes = self.others.get("auto_https", ())
        if not self.options.auto_https:
            automation["disable"] = True
        if not self.options.redirects:
            automation["disable_redirects"] = True
        if "disable_certs" in modes:
            automation["disable_certificates"] = True
        if "ignore_loaded_certs" in modes:
            automation["ignore_loaded_certificates"] = True
        if any(not listener.endswith(f":{self.options.http_port}") for listener in server.listen):
            skip = [
                address.host
                for served in server.sites
                for address in served.addresses
                if address.scheme is Scheme.HTTP and address.host
            ]
            if skip:
                automation["skip"] = list(dict.fromkeys(skip))
        return automation

    # Other apps

    def tls_app(self) -> Json:
        return build_tls_app(self.servers, self.sites, self.directives.__getitem__, self.tags, self.options)

    def authorities(self) -> Json:
        """Return the authorities of the option `pki`, and those that `acme_server` names (pkiapp.go)."""
        found: Json = dict(self.others.get("pki", {}))
        for site in self.sites:
            for handler in _find_handlers((*site.routes, *site.errors)):
                if isinstance(handler, CarriedHandler) and handler.module == "acme_server":
                    name = handler.settings.value().get("ca")
                    if name:
                        found.setdefault(name, {})
        if "skip_install_trust" in self.others:
            if not found and self.options.auto_https:
                found[DEFAULT_AUTHORITY] = {}
            found = {name: {**authority, "install_trust": False} for name, authority in found.items()}
        return found


def _single_route(routes: Sequence[Route]) -> Route:
    """Return a named route: its only handler where it has no matcher, else all in a subroute."""
    if len(routes) == 1 and not routes[0].matchers:
        return Route(routes[0].handlers[:1])
    return Route((Subroute(tuple(routes)),))


def _find_handlers(routes: Sequence[Route]) -> list[object]:
    found: list[object] = []
    for route in routes:
        for handler in route.handlers:
            found.append(handler)
            if isinstance(handler, Subroute):
                found += _find_handlers((*handler.routes, *handler.errors))
    return found


def _find_invoked(routes: Sequence[Route]) -> list[str]:
    return [handler.name for handler in _find_handlers(routes) if isinstance(handler, Invoke)]


def _site_matchers(served: ServedSite) -> tuple[MatcherSet, ...]:
    """Return the matcher sets for a site's addresses, hosts of one path together."""
    hosts_by_path: dict[str, list[str]] = {}
    any_host = False
    for address in served.addresses:
        hosts = hosts_by_path.setdefault(address.path, [])
        if not address.host and not any_host:
            hosts.clear()
            any_host = True
        if not any_host and address.host not in hosts:
            hosts.append(address.host)
    sets: list[MatcherSet] = []
    for path, hosts in hosts_by_path.items():
        host_matcher: MatcherSet = (MatchHost(tuple(hosts)),) if hosts else ()
        path_matcher: MatcherSet = (MatchPath((path,)),) if path else ()
        if host_matcher or path_matcher:
            sets.append(host_matcher + path_matcher)
    return tuple(sets)


def _wrap_site(routes: Sequence[Route], matchers: tuple[MatcherSet, ...], *, alone: bool) -> list[Route]:
    """Put a site's routes behind its hosts, unless it is alone and takes any."""
    if not matchers and not routes:
        return []
    # A host matcher at the top would be taken for a site's own name (Caddy issue 5124).
    has_host = any(isinstance(one, MatchHost) for route in routes for sets in route.matchers for one in sets)
    if not matchers and alone and not has_host:
        return list(routes)
    handlers = (Subroute(tuple(routes)),) if routes else ()
    return [Route(handlers, matchers, terminal=True)]


def _exclusive_directive(route: Route) -> str:
    match route.handlers[0]:
        case Rewrite():
            return "rewrite"
        case SetVariables():
            return "root"
        case _:
            return "handle"


def _nested_groups(routes: Sequence[Route]) -> int:
    """Count the group names that Caddy's adapter has used up for nested blocks."""
    count = 0
    for nested in (one for route in routes for handler in route.handlers for one in _blocks_of(handler)):
        tried = _tried_groups(nested)
        roles = {_exclusive_directive(one) for one in nested if one.group and one.group not in tried}
        count += 1 + _nested_groups(nested) + len(roles - {"rewrite"}) + len(tried)
    return count


def _blocks_of(handler: Handler) -> list[tuple[Route, ...]]:
    """Return the routes of each block in a handler; what `forward_auth` copies is none."""
    match handler:
        case Subroute(routes=routes):
            return [routes]
        case ReverseProxy(response_handlers=handlers) | Intercept(handlers=handlers):
            blocks = [one.routes for one in handlers if not one.status]
            return [one for one in blocks if one[:1] != copying_routes({})]
        case _:
            return []


def _tried_groups(routes: Sequence[Route]) -> set[str]:
    """Return the groups of `try_files` with several routes: Caddy numbers them as it reads the text."""
    members: dict[str, list[Route]] = {}
    for route in routes:
        if route.group:
            members.setdefault(route.group, []).append(route)
    return {
        group for group, grouped in members.items() if len(grouped) > 1 and all(map(_tries_files, grouped))
    }


def _tries_files(route: Route) -> bool:
    handler = route.handlers[0]
    if not isinstance(handler, Rewrite) or not (handler.uri or "").startswith(MATCHED_FILE):
        return False
    return any(isinstance(one, MatchFile) for sets in route.matchers for one in sets)
