"""Which sites share a listener: Caddy's servers, made from sites and the addresses they listen on.

In: sites and options of the tree. Out: servers in Caddy's order, each with its sites, most specific
first. Used by the adapter to JSON, by group numbering and by whoever opens listeners
(httpcaddyfile/addresses.go mapAddressToProtocolToServerBlocks, httptype.go serversFromPairings).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from zeroserve_ir.host_names import spell_authority
from zeroserve_ir.tree import Site, SiteAddress


@dataclass(frozen=True, slots=True)
class ServedSite:
    """A site in a server, with those of its addresses that the server listens on."""

    index: int
    addresses: tuple[SiteAddress, ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        """Hosts of the addresses; none if one of them stands for any host."""
        hosts = [address.host for address in self.addresses]
        return () if "" in hosts else tuple(dict.fromkeys(hosts))


@dataclass(frozen=True, slots=True)
class Server:
    """Listener addresses with the sites behind them."""

    listen: tuple[str, ...]
    sites: tuple[ServedSite, ...]
    protocols: tuple[tuple[str, ...], ...] = ()
    """By listener: the protocols that `bind` names; none where they are the default for all."""


_PORT_BEHIND = re.compile(r"([^:]*|\[[^]]*\]|\{[^}]*\}):[^:]*")


@lru_cache(1024)
def listen_address(bind: str, port: int) -> str:
    """Return the network address to listen on, such as `:443`, `[::1]:443` or `unix//run/x.sock`."""
    network, slash, host = bind.partition("/")
    if not slash:
        network, host = "", bind
    if network.startswith(("unix", "fd")):
        return bind
    # A port that stands behind the address is not the site's (httpcaddyfile/addresses.go).
    if found := _PORT_BEHIND.fullmatch(host):
        host = found[1]
    host = host.removeprefix("[").removesuffix("]")
    joined = f"{spell_authority(host)}:{port}"
    return f"{network}/{joined}" if network and network != "tcp" else joined


def pair_sites(sites: Sequence[Site]) -> tuple[Server, ...]:
    """Group sites by listener and protocol; listeners with the same sites are one server."""
    served: dict[tuple[str, str], list[ServedSite]] = {}
    for index, site in enumerate(sites):
        by_listener: dict[tuple[str, str], list[SiteAddress]] = {}
        protocols = dict(site.protocols)
        for address in site.addresses:
            for bind in dict.fromkeys(site.bind or ("",)):
                for protocol in protocols.get(bind, ("",)):
                    listener = (listen_address(bind, address.port), protocol)
                    by_listener.setdefault(listener, []).append(address)
        for listener in sorted(by_listener):
            served.setdefault(listener, []).append(ServedSite(index, tuple(by_listener[listener])))
    servers: dict[tuple[ServedSite, ...], dict[str, list[str]]] = {}
    for listen, protocol in sorted(served):
        # Addresses that differ in nothing but the port do not make one server of two.
        servers.setdefault(tuple(served[listen, protocol]), {}).setdefault(listen, []).append(protocol)
    pairs: list[Server] = []
    for group, listeners in servers.items():
        ordered = tuple(sorted(group, key=_specificity))
        pairs.append(Server(tuple(listeners), ordered, _list_protocols(listeners)))
        # Further protocols of the first address make servers of nothing (addresses.go).
        pairs += [Server((), ())] * (len(next(iter(listeners.values()))) - 1)
    return tuple(pairs)


def _list_protocols(listeners: dict[str, list[str]]) -> tuple[tuple[str, ...], ...]:
    protocols = tuple(() if names == [""] else tuple(names) for names in listeners.values())
    return protocols if any(protocols) else ()


def _specificity(served: ServedSite) -> tuple[int, bool, int, int]:
    """Order: named hosts before wildcards, longer hosts, longer paths; those of any host last, as written."""
    host = max((specificity(address.host) for address in served.addresses), default=0)
    if host == 0:
        return (1, False, 0, 0)
    wildcard = any("*" in address.host or not address.host for address in served.addresses)
    path = max((len(address.path.encode()) for address in served.addresses), default=0)
    return (0, wildcard, -host, -path)


def specificity(text: str) -> int:
    """Bytes of UTF-8 without wildcards and placeholders."""
    named = re.sub(r"\{[^}]*\}", "", text) if "{" in text else text
    return len(named.encode()) - text.count("*")
