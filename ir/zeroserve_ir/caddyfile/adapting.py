"""A configuration as the JSON that `caddy adapt` prints.

In: a `Configuration`. Out: Caddy's config as plain data: servers by listener, site routes behind their
host matchers, TLS policies, logs, admin. Called by the command `adapt` and compared with stock Caddy by
the differential tests (httpcaddyfile/httptype.go, tlsapp.go).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from zeroserve_ir.caddyfile.encoding import Json, encode_route, encode_routes
from zeroserve_ir.caddyfile.listening import ServedSite, Server, pair_sites
from zeroserve_ir.caddyfile.meaning.ordering import EXCLUSIVE, merge_routes
from zeroserve_ir.tree import (
    Configuration,
    MatcherSet,
    MatchHost,
    MatchPath,
    Rewrite,
    Route,
    Scheme,
    SetVariables,
    Subroute,
)


def adapt_configuration(configuration: Configuration) -> Json:
    """Return Caddy's JSON for the configuration, as `caddy adapt` would."""
    adapter = _Adapter(configuration)
    adapted: Json = {}
    if configuration.options.admin == "off":
        adapted["admin"] = {"disabled": True}
    elif configuration.options.admin != "localhost:2019":
        adapted["admin"] = {"listen": configuration.options.admin}
    if configuration.options.debug:
        adapted["logging"] = {"logs": {"default": {"level": "DEBUG"}}}
    apps: Json = {}
    if configuration.sites:
        apps["http"] = adapter.http_app()
    if tls := adapter.tls_app():
        apps["tls"] = tls
    if apps:
        adapted["apps"] = apps
    return adapted


class _Adapter:
    def __init__(self, configuration: Configuration) -> None:
        self.sites = configuration.sites
        self.options = configuration.options
        self.servers = pair_sites(self.sites)
        self.groups = sum(_nested_groups(site.routes) + _nested_groups(site.errors) for site in self.sites)
        self.tags = self._tag_certificates()

    def _tag_certificates(self) -> dict[str, str]:
        """Name each certificate file once, in the order of the text."""
        files = (pair.certificate for site in self.sites if site.tls for pair in site.tls.files)
        return {file: f"cert{index}" for index, file in enumerate(dict.fromkeys(files))}

    # The http app

    def http_app(self) -> Json:
        app: Json = {}
        if self.options.http_port != 80:
            app["http_port"] = self.options.http_port
        if self.options.https_port != 443:
            app["https_port"] = self.options.https_port
        if self.options.grace_period_ms:
            app["grace_period"] = self.options.grace_period_ms * 1_000_000
        app["servers"] = {f"srv{index}": self.server(server) for index, server in enumerate(self.servers)}
        return app

    def server(self, server: Server) -> Json:
        encoded: Json = {"listen": list(server.listen)}
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
        if policies := self.connection_policies(server):
            encoded["tls_connection_policies"] = policies
        if automation := self.automation(server):
            encoded["automatic_https"] = automation
        if any(self.sites[served.index].access_log for served in server.sites):
            encoded["logs"] = self.logs(server)
        if self.options.trusted_proxies:
            encoded["trusted_proxies"] = {"source": "static", "ranges": list(self.options.trusted_proxies)}
        return encoded

    def _numbered(self, routes: Sequence[Route]) -> tuple[Route, ...]:
        """Number a site's own groups as if it were built now: once for each server that it is in."""
        roles: dict[str, str] = {}
        for route in routes:
            if route.group:
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
        if not self.options.auto_https:
            automation["disable"] = True
        if not self.options.redirects:
            automation["disable_redirects"] = True
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

    def connection_policies(self, server: Server) -> list[Json]:
        """Return the TLS policies that Caddy's adapter writes down (the rest it makes when it starts)."""
        policies: list[Json] = []
        catch_all = qualifies = False
        automatic = self.options.auto_https
        for served in server.sites:
            tls = self.sites[served.index].tls
            if tls is not None:
                policy: Json = {}
                if tls.files:
                    tags = [self.tags[pair.certificate] for pair in tls.files]
                    policy["certificate_selection"] = {"any_tag": list(dict.fromkeys(tags))}
                if tls.protocol_min:
                    policy["protocol_min"] = tls.protocol_min
                if tls.protocol_max:
                    policy["protocol_max"] = tls.protocol_max
                if policy:
                    if served.hosts:
                        policy["match"] = {"sni": sorted(served.hosts)}
                    policies.append(policy)
                    catch_all = not served.hosts
            for address in served.addresses:
                named = bool(address.host) or tls is not None
                qualifies = qualifies or (address.scheme is Scheme.HTTPS and named)
                port = address.port
                on_https = port == self.options.https_port
                automatic = automatic and (
                    on_https or (port != self.options.http_port and bool(address.host))
                )
        if qualifies and not catch_all and (policies or not automatic):
            policies.append({})
        return _join_connection_policies(policies)

    def logs(self, server: Server) -> Json:
        logs: Json = {}
        names: dict[str, list[str]] = {}
        skipped: list[str] = []
        for served in server.sites:
            hosts = sorted({_log_host(address.host, address.port) for address in served.addresses} - {""})
            if not self.sites[served.index].access_log:
                if not served.hosts:
                    logs["skip_unmapped_hosts"] = True
                skipped += hosts
            elif served.hosts:
                names |= {address.host: [""] for address in served.addresses}
        if names:
            logs["logger_names"] = names
        if skipped:
            logs["skip_hosts"] = sorted(skipped)
        return logs

    # The tls app

    def tls_app(self) -> Json:
        loaded: dict[str, Json] = {}
        policies: list[_AutomationPolicy] = []
        for server in self.servers:
            for served in server.sites:
                site = self.sites[served.index]
                if all(one.scheme is Scheme.HTTP for one in served.addresses):
                    continue
                internal = site.tls is not None and site.tls.internal
                if internal or served.hosts:
                    policies.append(_automation_policy(served, internal=internal))
                if site.tls is None:
                    continue
                for pair in site.tls.files:
                    entry = {
                        "certificate": pair.certificate,
                        "key": pair.key,
                        "tags": [self.tags[pair.certificate]],
                    }
                    loaded.setdefault(pair.certificate, entry)
        app: Json = {}
        if loaded:
            app["certificates"] = {"load_files": list(loaded.values())}
        if automate := self.shared_with_any_host():
            app.setdefault("certificates", {})["automate"] = automate
        if joined := _join_automation_policies(policies):
            app["automation"] = {"policies": joined}
        return app

    def shared_with_any_host(self) -> list[str]:
        """Return hosts whose site also takes any host: no matcher names them, so this list must."""
        if not self.options.auto_https:
            return []
        hosts = {
            address.host
            for server in self.servers
            for served in server.sites
            if any(not one.host for one in served.addresses)
            for address in served.addresses
            if address.host and address.scheme is Scheme.HTTPS
        }
        return sorted(hosts)


def _log_host(host: str, port: int) -> str:
    return f"{host}:{port}" if host and port not in (80, 443) else host


def _join_connection_policies(policies: list[Json]) -> list[Json]:
    """Join neighbours that differ in their server names only; the one for all names goes last."""
    joined: list[Json] = []
    for policy in sorted(policies, key=lambda one: "match" not in one):
        settings = {key: value for key, value in policy.items() if key != "match"}
        if joined and settings == {key: value for key, value in joined[-1].items() if key != "match"}:
            if "match" in joined[-1] and "match" in policy:
                joined[-1]["match"]["sni"] += policy["match"]["sni"]
                continue
            if policy == joined[-1]:
                continue
        joined.append(policy)
    return joined


@dataclass(slots=True)
class _AutomationPolicy:
    subjects: list[str]
    internal: bool

    def encode(self) -> Json:
        encoded: Json = {"subjects": self.subjects} if self.subjects else {}
        return encoded | ({"issuers": [{"module": "internal"}]} if self.internal else {})


def _automation_policy(served: ServedSite, *, internal: bool) -> _AutomationPolicy:
    hosts = {address.host for address in served.addresses if address.scheme is Scheme.HTTPS}
    return _AutomationPolicy(sorted(hosts) if served.hosts else [], internal)


def _join_automation_policies(policies: list[_AutomationPolicy]) -> list[Json]:
    """Sort and join policies; without a setting in any of them there is nothing to write."""
    policies = sorted(policies, key=lambda one: -len(one.subjects))
    if not any(one.internal for one in policies):
        return []
    if not policies[-1].internal:
        policies.pop()
    joined: list[_AutomationPolicy] = []
    for policy in policies:
        same = [one for one in joined if one.internal == policy.internal]
        if not policy.subjects:
            # Whatever the policy for all subjects says, those before it need not repeat.
            joined = [one for one in joined if one.internal != policy.internal]
            joined.append(policy)
        elif same:
            same[0].subjects += [one for one in policy.subjects if one not in same[0].subjects]
        else:
            joined.append(policy)
    return [one.encode() for one in joined]


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
    for route in routes:
        for handler in route.handlers:
            if isinstance(handler, Subroute):
                count += 1 + _nested_groups(handler.routes)
                roles = {_exclusive_directive(one) for one in handler.routes if one.group}
                count += len(roles - {"rewrite"})
    return count
