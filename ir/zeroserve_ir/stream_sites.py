"""Streams of a Caddyfile (`layer4`) as sites: what is drafted for connections and datagrams that pass.

In: the option's JSON (`caddyfile.meaning.streams`). Out: listeners to open and, for each set of names, the
site whose routes say which upstreams they get, by the addresses of their clients. Who calls:
`drafting_sites`. Rules: a route for named servers beside https sites takes their connections and leaves all
others alone; a client that no route takes is closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zeroserve_ir import tree
from zeroserve_ir.caddyfile.meaning.reading import round_to_ms
from zeroserve_ir.sources import Span
from zeroserve_ir.tree_carried import Json

DATAGRAMS = "udp/"
"""What is written in front of an address for UDP."""


@dataclass(frozen=True, slots=True)
class StreamRoute:
    """What becomes of clients of an address for some names; the name "" is any other, or none."""

    listen: str
    address: str
    port: int
    datagrams: bool
    idle_timeout_ms: int
    """Of clients that send datagrams; 0 is the engine's default."""
    reads_tls: bool
    """Connections begin with a ClientHello."""
    names: tuple[str, ...]
    terminates: bool
    """TLS ends here."""
    site: tree.Site


def list_streams(layer4: Json, span: Span) -> Iterator[StreamRoute]:
    """Return all routes of all servers by their names; of a name the routes hold in their order."""
    for server in layer4.get("servers", {}).values():
        reads_tls = any(ends_tls(route) or _asks_tls(route) for route in server["routes"])
        by_routes: dict[str, tuple[list[str], list[tuple[Json, list[Json]]]]] = {}
        for name in find_route_names(server):
            routes = find_routes(server, name)
            by_routes.setdefault(repr(routes), ([], routes))[0].append(name)
        for listen in server["listen"]:
            rest = listen.removeprefix("tcp/").removeprefix(DATAGRAMS)
            host, _, port = rest.rpartition(":")
            for names, routes in by_routes.values():
                yield StreamRoute(
                    listen=listen if listen.startswith(DATAGRAMS) else rest,
                    address=host.removeprefix("[").removesuffix("]"),
                    port=int(port),
                    datagrams=listen.startswith(DATAGRAMS),
                    idle_timeout_ms=round_to_ms(server.get("zeroserve", {}).get("idle_timeout", 0)),
                    reads_tls=reads_tls,
                    names=tuple(sorted(names)),
                    terminates=ends_tls(routes[0][0]),
                    site=_make_site(int(port), routes, span),
                )


def find_route_names(server: Json) -> tuple[str, ...]:
    """Return the server names that routes name, in order; "" where a route takes any."""
    sets = [one for route in server["routes"] for one in route.get("match", [{}])]
    return tuple(dict.fromkeys(name for one in sets for name in one.get("tls", {}).get("sni", [""])))


def find_routes(server: Json, name: str) -> list[tuple[Json, list[Json]]]:
    """Return the routes that may take a connection for a name, each with the matcher sets that cover it.

    A route that takes every client of the name is the last one.
    """
    found = []
    for route in server["routes"]:
        sets = [one for one in route.get("match", [{}]) if _covers(one, name)]
        if sets:
            found.append((route, sets))
        if any(not set(one) - {"tls"} for one in sets):
            break
    return found


def ends_tls(route: Json) -> bool:
    """Say whether a route has the handler `tls`."""
    return len(route["handle"]) > 1


def _asks_tls(route: Json) -> bool:
    return any("tls" in one for one in route.get("match", []))


def _covers(matchers: Json, name: str) -> bool:
    named = matchers.get("tls", {}).get("sni", [""])
    return "" in named or name in named or (bool(name) and f"*.{name.partition('.')[2]}" in named)


def _make_site(port: int, routes: list[tuple[Json, list[Json]]], span: Span) -> tree.Site:
    address = tree.SiteAddress(tree.Scheme.HTTPS, "", port)
    return tree.Site((address,), tuple(_make_route(*route, span) for route in routes), span=span)


def _make_route(route: Json, sets: list[Json], span: Span) -> tree.Route:
    proxy = route["handle"][-1]
    dials = [dial.removeprefix(DATAGRAMS) for one in proxy["upstreams"] for dial in one["dial"]]
    selection = proxy.get("load_balancing", {}).get("selection")
    handler = tree.ReverseProxy(
        tuple(tree.Upstream(dial) for dial in dials),
        selection=selection
        and tree.SelectionPolicy(tree.Selection(selection["policy"]), choose=selection.get("choose", 0)),
        transport=tree.HttpTransport(proxy_protocol=proxy.get("proxy_protocol", "")),
        # Nothing is lost before the upstream is there: each is tried.
        retries=len(dials) - 1,
    )
    matchers = tuple(_make_matchers(one) for one in sets)
    return tree.Route((handler,), matchers=matchers if all(matchers) else (), span=span)


def _make_matchers(matchers: Json) -> tree.MatcherSet:
    found: list[tree.Matcher] = []
    if "remote_ip" in matchers:
        found.append(tree.MatchRemoteIp(tuple(matchers["remote_ip"]["ranges"])))
    found += [tree.MatchNot((_make_matchers(one),)) for one in matchers.get("not", [])]
    return tuple(found)
