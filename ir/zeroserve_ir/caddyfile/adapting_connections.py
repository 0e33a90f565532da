"""TLS connection policies of a server, as Caddy's adapter writes them down.

In: a server's sites, the directives of `tls` of each. Out: policies in the order in which Caddy tries
them. Where Caddy makes policies only when it starts, none are written (httpcaddyfile/httptype.go
serversFromPairings, consolidateConnPolicies).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from zeroserve_ir.caddyfile.adapting_names import matches_wildcard
from zeroserve_ir.caddyfile.listening import ServedSite, Server
from zeroserve_ir.tree import Options, Scheme
from zeroserve_ir.tree_carried import Json

Directives = Callable[[int], list[Json]]
"""Returns the `tls` directives of a site by its index (`meaning.securing`)."""


def connection_policies(
    server: Server, directives: Directives, tags: dict[str, str], options: Options, others: Json
) -> list[Json]:
    """Return the policies of a server."""
    building = _Building(server, directives, tags, options, others)
    return building.build()


class _Building:
    def __init__(
        self, server: Server, directives: Directives, tags: dict[str, str], options: Options, others: Json
    ) -> None:
        self.server = server
        self.directives = directives
        self.tags = tags
        self.options = options
        self.names: Json = {name: others[name] for name in ("default_sni", "fallback_sni") if name in others}
        self.policies: list[Json] = []
        self.empty: list[list[str]] = []
        """Names of sites whose own policy is empty."""
        self.catch_all = False

    def build(self) -> list[Json]:
        qualifies, automatic = False, self.options.auto_https
        for served in self.server.sites:
            found = self.directives(served.index)
            hosts = list(served.hosts)
            for directive in found:
                hosts = self.add(directive, hosts)
            specific = sorted(host for host in served.hosts if "*" not in host)
            if not found and specific:
                self.empty.append(specific)
            site_qualifies, site_automatic = self.judge(served, has_tls=bool(found))
            qualifies, automatic = qualifies or site_qualifies, automatic and site_automatic
        self.shield()
        if qualifies and not self.catch_all and (self.policies or not automatic or self.names):
            self.policies.append(dict(self.names))
        return join_connection_policies(self.policies)

    def add(self, directive: Json, hosts: list[str]) -> list[str]:
        """Add the policy of one directive; returns the hosts, as a default name among them stands for any."""
        policy: Json = copy.deepcopy(directive.get("policy", {}))
        if files := directive.get("files"):
            tags = [self.tags[certificate] for certificate, _ in files]
            policy["certificate_selection"] = {"any_tag": list(dict.fromkeys(tags))}
        settings = bool(policy)
        for host in hosts:
            found = [name for name, value in self.names.items() if value == host]
            if found:
                hosts = [*hosts, ""]
                policy[found[0]] = host
                break
        if hosts:
            hosts = sorted(hosts)
            policy["match"] = {"sni": hosts}
        else:
            policy |= self.names
        settings = settings or any(name in policy for name in self.names)
        if settings or (directive.get("force_automate") and hosts):
            self.policies.append(policy)
            self.catch_all = not hosts
        elif hosts:
            self.empty.append(hosts)
        return hosts

    def judge(self, served: ServedSite, *, has_tls: bool) -> tuple[bool, bool]:
        """Say whether the site has TLS, and whether Caddy makes the policy itself when it starts."""
        options = self.options
        qualifies, automatic = False, True
        for address in served.addresses:
            named = (
                bool(address.host) or has_tls or address.port != options.https_port or not options.auto_https
            )
            qualifies = qualifies or (address.scheme is Scheme.HTTPS and (named or address.bare))
            on_own = address.port == options.https_port and not address.bare
            on_other = address.port != options.http_port and bool(address.host)
            automatic = automatic and (on_own or on_other)
        return qualifies, automatic

    def shield(self) -> None:
        """Keep the demand for client certificates of a wildcard from its more specific neighbours."""
        shielded: dict[int, list[str]] = {}
        demanding = [
            (index, [name for name in policy.get("match", {}).get("sni", ()) if "*" in name])
            for index, policy in enumerate(self.policies)
            if "client_authentication" in policy and "match" in policy
        ]
        for host in (host for hosts in self.empty for host in hosts) if demanding else ():
            for index, wildcards in demanding:
                if any(matches_wildcard(host, wildcard) for wildcard in wildcards):
                    shielded.setdefault(index, []).append(host)
                    break
        for index in sorted(shielded, reverse=True):
            policy = copy.deepcopy(self.policies[index])
            del policy["client_authentication"]
            policy["match"] = {"sni": sorted(set(shielded[index]))}
            self.policies.insert(index, policy)


def join_connection_policies(policies: list[Json]) -> list[Json]:
    """Join neighbours that differ in their names only, and policies of the same names."""
    policies = sorted(policies, key=lambda one: "match" not in one)
    if len(policies) > 1:
        policies = _join_neighbours(policies)
    joined: list[Json] = []
    by_match: dict[str, Json] = {}
    for policy in policies:
        key = repr(policy.get("match"))
        first = by_match.get(key)
        if first is None:
            by_match[key] = policy
            joined.append(policy)
        else:
            _lay_under(first, policy)
    return joined


def _join_neighbours(policies: list[Json]) -> list[Json]:
    joined: list[Json] = []
    for policy in policies:
        last = joined[-1] if joined else None
        if last is not None and _joinable(last, policy):
            last["match"]["sni"] = [*last["match"]["sni"], *policy["match"]["sni"]]
        elif policy != last:
            joined.append(policy)
    return joined


def _joinable(one: Json, other: Json) -> bool:
    settings = [{key: value for key, value in policy.items() if key != "match"} for policy in (one, other)]
    only_names = all(set(policy.get("match", ())) == {"sni"} for policy in (one, other))
    return only_names and settings[0] == settings[1] and one["match"] != other["match"]


def _lay_under(first: Json, policy: Json) -> None:
    """Complete a policy by another one of the same names."""
    for key, value in policy.items():
        if key not in first:
            first[key] = value
    selections: list[Any] = [one.get("certificate_selection", {}).get("any_tag") for one in (first, policy)]
    if all(selections):
        first["certificate_selection"]["any_tag"] = list(dict.fromkeys([*selections[0], *selections[1]]))
