"""Streams of a Caddyfile (`layer4`) as sites: what is lowered and drafted for a connection whose bytes pass.

In: the option's JSON (`caddyfile.meaning.streams`). Out: listeners to open and, for each route, the names
that find it and the site whose only handler is its upstreams. Who calls: `drafting_sites`. Rule: a route for
named servers beside https sites takes their connections and leaves all others alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zeroserve_ir import tree
from zeroserve_ir.sources import Span
from zeroserve_ir.tree_carried import Json


@dataclass(frozen=True, slots=True)
class StreamRoute:
    """What becomes of connections to an address for some names; the name "" is any other, or none."""

    listen: str
    address: str
    port: int
    reads_tls: bool
    """Connections begin with a ClientHello."""
    names: tuple[str, ...]
    terminates: bool
    """TLS ends here."""
    site: tree.Site


def list_streams(layer4: Json, span: Span) -> Iterator[StreamRoute]:
    """Return all routes of all servers; the first route of a name holds."""
    for server in layer4.get("servers", {}).values():
        reads_tls = any("match" in route or len(route["handle"]) > 1 for route in server["routes"])
        for listen in server["listen"]:
            taken: set[str] = set()
            for route in server["routes"]:
                sets = route.get("match", [{}])
                names = {name for one in sets for name in one.get("tls", {}).get("sni", [""])} - taken
                taken |= names
                if names:
                    yield _make_route(listen, route, tuple(sorted(names)), reads_tls, span)


def _make_route(listen: str, route: Json, names: tuple[str, ...], reads_tls: bool, span: Span) -> StreamRoute:
    rest = listen.removeprefix("tcp/")
    host, _, port = rest.rpartition(":")
    proxy = route["handle"][-1]
    transport = tree.HttpTransport(proxy_protocol=proxy.get("proxy_protocol", ""))
    upstreams = tuple(tree.Upstream(dial) for one in proxy["upstreams"] for dial in one["dial"])
    # Nothing is lost before the upstream is there: each is tried.
    handler = tree.ReverseProxy(upstreams, transport=transport, retries=len(upstreams) - 1)
    address = tree.SiteAddress(tree.Scheme.HTTPS, "", int(port))
    return StreamRoute(
        listen=rest,
        address=host.removeprefix("[").removesuffix("]"),
        port=int(port),
        reads_tls=reads_tls,
        names=names,
        terminates=len(route["handle"]) > 1,
        site=tree.Site((address,), (tree.Route((handler,), span=span),), span=span),
    )
