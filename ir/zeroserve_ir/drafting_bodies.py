"""Which sites answer for a host, and when two bodies of routes are one.

In: the sites of a server, routes. Out: places of sites, several sites as one, routes with their groups
numbered. Called by `drafting_sites`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

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


class AnsweringSites:
    """The sites of a server by the hosts they take: equal, any, or `*.` for one label (Caddy: MatchHost)."""

    def __init__(self, server: Server, sites: Sequence[tree.Site]) -> None:
        self._erring = {served.index for served in server.sites if sites[served.index].errors}
        """Sites with routes for errors."""
        self._places: dict[str, list[tuple[int, int, str]]] = {}
        """By host pattern: (place in the server, index of the site, path of the address)."""
        for place, served in enumerate(server.sites):
            for address in dict.fromkeys(served.addresses):
                entry = (place, served.index, address.path)
                self._places.setdefault(address.host, []).append(entry)

    def find(self, host: str) -> tuple[tuple[int, str], ...]:
        """Return (site, path) for all that may answer for a host, up to the first that takes every path."""
        return self._take(self._matching(host))

    def find_errors(self, host: str) -> tuple[tuple[int, str], ...]:
        """Return (site, path) for all whose error routes a host's errors may reach, less specific too."""
        if not self._erring:
            return ()
        return self._take(one for one in self._matching(host) if one[0] in self._erring)

    def _matching(self, host: str) -> list[tuple[int, str]]:
        patterns = {"", host, "*." + host.partition(".")[2]}
        places = {entry for pattern in patterns for entry in self._places.get(pattern, ())}
        ordered = sorted(places, key=lambda entry: (entry[0], -len(entry[2]), entry[2]))
        return [(index, path) for _, index, path in ordered]

    @staticmethod
    def _take(places: Iterable[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
        taken: list[tuple[int, str]] = []
        for index, path in places:
            taken.append((index, path))
            if not path:
                break
        return tuple(taken)


Places = tuple[tuple[int, str], ...]
"""Sites by index, each with the path of the address that it is reached by."""


def join_sites(sites: Sequence[tree.Site], body: Places, erring: Places) -> tree.Site:
    """Return one site that does what several do in turn; paths of addresses become matchers.

    Errors of a site without error routes go to those of the next site that its host matches (Caddy keeps the
    error routes of a server in one list).
    """
    whole = all(sites[index].errors for index, _ in body)
    errors = () if whole else _join_errors(sites, erring)
    if len(body) == 1 and not body[0][1]:
        site = sites[body[0][0]]
        return replace(site, errors=errors) if errors else site
    routes = _route_places(sites, body, lambda site: tree.Subroute(site.routes, site.errors))
    return replace(sites[body[0][0]], routes=routes, errors=errors)


def _join_errors(sites: Sequence[tree.Site], erring: Places) -> tuple[tree.Route, ...]:
    if len(erring) == 1 and not erring[0][1]:
        return sites[erring[0][0]].errors
    return _route_places(sites, erring, lambda site: tree.Subroute(site.errors))


def _route_places(
    sites: Sequence[tree.Site], places: Places, make_subroute: Callable[[tree.Site], tree.Subroute]
) -> tuple[tree.Route, ...]:
    routes = []
    for index, path in places:
        matchers: tuple[tree.MatcherSet, ...] = ((tree.MatchPath((path,)),),) if path else ()
        site = sites[index]
        routes.append(tree.Route((make_subroute(site),), matchers, terminal=True, span=site.span))
    return tuple(routes)


def put_first(single: tree.Site, other: tree.Site | None) -> tree.Site:
    """Return a site that answers as `single` for hosts of one label (`http://*`), else as the other one."""
    routes = [
        tree.Route(
            (tree.Subroute(single.routes, single.errors),),
            ((tree.MatchHost(("*",)),),),
            terminal=True,
            span=single.span,
        )
    ]
    if other is not None:
        routes.append(
            tree.Route((tree.Subroute(other.routes, other.errors),), terminal=True, span=other.span)
        )
    return replace(other or single, routes=tuple(routes), errors=())
