"""Which sites answer for a host, and when two bodies of routes are one.

In: the sites of a server, routes. Out: places of sites, routes with their groups numbered. Called by
`drafting_sites`.
"""

from __future__ import annotations

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

    def __init__(self, server: Server) -> None:
        self._places: dict[str, list[tuple[int, int, str]]] = {}
        """By host pattern: (place in the server, index of the site, path of the address)."""
        for place, served in enumerate(server.sites):
            for address in dict.fromkeys(served.addresses):
                entry = (place, served.index, address.path)
                self._places.setdefault(address.host, []).append(entry)

    def find(self, host: str) -> tuple[tuple[int, str], ...]:
        """Return (site, path) for all that may answer for a host, up to the first that takes every path."""
        patterns = {"", host, "*." + host.partition(".")[2]}
        places = {entry for pattern in patterns for entry in self._places.get(pattern, ())}
        answering: list[tuple[int, str]] = []
        for _, index, path in sorted(places, key=lambda entry: (entry[0], -len(entry[2]), entry[2])):
            answering.append((index, path))
            if not path:
                break
        return tuple(answering)
