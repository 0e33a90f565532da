"""Which sites answer for a host, and when two bodies of routes are one.

In: the sites of a server, routes. Out: places of sites, several sites as one, routes with their groups
numbered. Called by `drafting_sites`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from zeroserve_ir import tree
from zeroserve_ir.caddyfile.listening import Server


def number_groups(routes: tuple[tree.Route, ...], names: dict[str, str]) -> tuple[tree.Route, ...]:
    """Number the groups from 0: their names count through all sites, as in Caddy, and mean nothing else."""
    numbered = []
    for route in routes:
        handlers = tuple(
            tree.Subroute(number_groups(one.routes, names), number_groups(one.errors, names))
            if isinstance(one, tree.Subroute)
            else one
            for one in route.handlers
        )
        group = names.setdefault(route.group, f"group{len(names) - 1}")
        numbered.append(tree.Route(handlers, route.matchers, group, route.terminal, route.span))
    return tuple(numbered)


class Place(NamedTuple):
    """A site that may answer, and when."""

    site: int
    """Its index."""
    path: str
    """Of the address that it is reached by; "" is any."""
    hosts: tuple[str, ...] = ()
    """Patterns, one of which the request's host must fit as well; none: any host that comes here."""

    @property
    def takes_all(self) -> bool:
        """Whether nothing comes to a place behind this one."""
        return not self.path and not self.hosts


Places = tuple[Place, ...]


def is_sifted(host: str) -> bool:
    """Whether a matcher tells a pattern's hosts from all that no other site names: `*`, `*.*.name`."""
    return "*" in host.removeprefix("*.")


class AnsweringSites:
    """The sites of a server by the hosts they take: equal, any, or `*` for one label (Caddy: MatchHost)."""

    def __init__(self, server: Server, sites: Sequence[tree.Site]) -> None:
        self._erring = {served.index for served in server.sites if sites[served.index].errors}
        """Sites with routes for errors."""
        self._places: dict[str, list[tuple[int, int, str]]] = {}
        """By host pattern: (place in the server, index of the site, path of the address)."""
        self._sifted: list[str] = []
        for place, served in enumerate(server.sites):
            for address in dict.fromkeys(served.addresses):
                entry = (place, served.index, address.path)
                self._places.setdefault(address.host, []).append(entry)
                if is_sifted(address.host) and address.host not in self._sifted:
                    self._sifted.append(address.host)

    def find(self, host: str) -> Places:
        """Return all that may answer for a name, `*.name` or "" (any), up to the first that takes all."""
        return self._take(self._matching(host))

    def find_errors(self, host: str) -> Places:
        """Return all whose error routes a host's errors may reach, less specific too."""
        if not self._erring:
            return ()
        return self._take(one for one in self._matching(host) if one.site in self._erring)

    def _matching(self, host: str) -> list[Place]:
        whole = {"", host, "*." + host.partition(".")[2]}
        hosts: dict[tuple[int, int, str], tuple[str, ...]] = {}
        for pattern in self._sifted:
            if host and _covers(pattern, host):
                whole.add(pattern)
            elif not host or _overlaps(pattern, host):
                for entry in self._places[pattern]:
                    hosts[entry] = (*hosts.get(entry, ()), pattern)
        hosts |= {entry: () for pattern in whole for entry in self._places.get(pattern, ())}
        ordered = sorted(hosts, key=lambda entry: (entry[0], -len(entry[2]), entry[2]))
        return [Place(entry[1], entry[2], hosts[entry]) for entry in ordered]

    @staticmethod
    def _take(places: Iterable[Place]) -> Places:
        taken: list[Place] = []
        for place in places:
            taken.append(place)
            if place.takes_all:
                break
        return tuple(taken)


def _covers(pattern: str, host: str) -> bool:
    """Whether a pattern takes every host that a name or another pattern stands for."""
    labels, others = pattern.split("."), host.split(".")
    return len(labels) == len(others) and all(
        one in ("*", other) for one, other in zip(labels, others, strict=True)
    )


def _overlaps(pattern: str, host: str) -> bool:
    """Whether some host is what both stand for."""
    labels, others = pattern.split("."), host.split(".")
    return len(labels) == len(others) and all(
        one == other or "*" in (one, other) for one, other in zip(labels, others, strict=True)
    )


def join_sites(sites: Sequence[tree.Site], body: Places, erring: Places) -> tree.Site:
    """Return one site that does what several do in turn; paths of addresses become matchers.

    Errors of a site without error routes go to those of the next site that its host matches (Caddy keeps the
    error routes of a server in one list).
    """
    first = sites[body[0].site]
    whole = all(sites[place.site].errors for place in body)
    errors = () if whole else _join_errors(sites, erring)
    if len(body) == 1 and body[0].takes_all:
        return replace(first, errors=errors) if errors else first
    routes = _route_places(sites, body, lambda site: tree.Subroute(site.routes, site.errors))
    return replace(first, routes=routes, errors=errors)


def _join_errors(sites: Sequence[tree.Site], erring: Places) -> tuple[tree.Route, ...]:
    if len(erring) == 1 and erring[0].takes_all:
        return sites[erring[0].site].errors
    return _route_places(sites, erring, lambda site: tree.Subroute(site.errors))


def _route_places(
    sites: Sequence[tree.Site], places: Places, make_subroute: Callable[[tree.Site], tree.Subroute]
) -> tuple[tree.Route, ...]:
    routes = []
    for place in places:
        hosts: tree.MatcherSet = (tree.MatchHost(place.hosts),) if place.hosts else ()
        paths: tree.MatcherSet = (tree.MatchPath((place.path,)),) if place.path else ()
        matchers = (hosts + paths,) if hosts or paths else ()
        site = sites[place.site]
        routes.append(tree.Route((make_subroute(site),), matchers, terminal=True, span=site.span))
    return tuple(routes)
