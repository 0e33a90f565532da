"""Names of upstreams to addresses, since the engine dials literals only.

In: Endpoints whose addresses may be DNS names, or that come from a dynamic source. Out: Endpoints of
literals, each name's share spread over its addresses. Who calls: `applying`. Rule: a name that cannot be
resolved now keeps the addresses it had; one that never could has none, and its cluster answers 503 until it
can.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
from collections.abc import Iterable

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import make_resource

from zeroserve_dataplane.agent.discovering import SourceResolver
from zeroserve_dataplane.agent.naming_places import LOOKUPS_AT_ONCE_MAX, find_places, is_socket, is_somewhere

logger = logging.getLogger(__name__)

REFRESH_S = 10.0
"""Between two looks at a name: resolvers cache by TTL, failovers by DNS are this slow anyway."""
TIMEOUT_S = 5.0
ADDRESSES_PER_NAME_MAX = 64
WRITTEN = "static:"
"""Begins the names of endpoints that an owner wrote, rather than a Service's."""
UNREACHABLE = "255.255.255.255"
"""Connecting to it fails at once, on every machine."""


class Resolver:
    """Addresses by name; asks the system's resolver (hosts file, DNS)."""

    def __init__(self, zone: str = "") -> None:
        """`zone`: this node's; "" prefers no endpoint."""
        self.zone = zone
        self.sources = SourceResolver()
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._slots = asyncio.Semaphore(LOOKUPS_AT_ONCE_MAX)

    @property
    def refresh_s(self) -> float:
        """Seconds between two looks: names' own, or the shortest that a source asks for."""
        return min(REFRESH_S, self.sources.refresh_s)

    async def ensure(self, endpoints: Iterable[pb.Resource]) -> None:
        """Look up the names that were never looked up."""
        messages = [pb.Endpoints.FromString(resource.payload) for resource in endpoints]
        names, sources = _names_of(messages) - self._addresses.keys(), _sources_of(messages)
        if names or sources:
            await asyncio.gather(self._look_up(names), self.sources.ensure(sources))

    async def refresh(self, endpoints: Iterable[pb.Resource]) -> bool:
        """Look up all names again; whether an address changed."""
        messages = [pb.Endpoints.FromString(resource.payload) for resource in endpoints]
        names = _names_of(messages)
        before = dict(self._addresses)
        self._addresses = {name: found for name, found in before.items() if name in names}
        moved = await self.sources.refresh(_sources_of(messages))
        await self._look_up(names)
        return moved or any(before.get(name) != self._addresses.get(name) for name in names)

    def resolve(self, resource: pb.Resource) -> pb.Resource:
        """Return the Endpoints with literals only; itself where there were no names."""
        message = pb.Endpoints.FromString(resource.payload)
        hinted = any(endpoint.zones for endpoint in message.endpoints)
        if not message.sources and not hinted and not _names_of([message]):
            return resource
        dynamic = [endpoint for source in message.sources for endpoint in self.sources.find(source)]
        if dynamic:
            resolved = pb.Endpoints(name=message.name)
            for address, port, name in dict.fromkeys(dynamic):
                resolved.endpoints.add(address=address, port=port, name=name)
            return make_resource(resolved)
        found = [self._addresses.get(item.address, (item.address,)) for item in message.endpoints]
        found = [tuple(filter(is_literal, addresses)) for addresses in found]
        if message.name.startswith(WRITTEN) and not any(found):
            # As in Caddy, attempts at a name that nobody knows fail (502); without any it were 503.
            found = [(UNREACHABLE,) for _ in found]
        shares = math.lcm(*(len(addresses) for addresses in found if addresses))
        resolved = pb.Endpoints(name=message.name)
        for item, addresses in zip(message.endpoints, found, strict=True):
            for address in addresses:
                share = max(item.weight, 1) * (shares // len(addresses))
                resolved.endpoints.add(
                    address=address,
                    port=item.port,
                    weight=min(share, 1 << 16),
                    draining=item.draining,
                    name=item.name,
                    elsewhere=bool(self.zone and item.zones) and self.zone not in item.zones,
                )
        return make_resource(resolved)

    async def _look_up(self, names: Iterable[str]) -> None:
        await asyncio.gather(*(self._look_up_one(name) for name in names))

    async def _look_up_one(self, name: str) -> None:
        try:
            async with self._slots, asyncio.timeout(TIMEOUT_S):
                found = await find_places(name)
        except (OSError, UnicodeError) as error:  # TimeoutError is an OSError
            logger.warning("upstream %s cannot be resolved: %s", name, str(error) or "timeout")
            self._addresses.setdefault(name, ())
            return
        literals = {str(entry[4][0]).partition("%")[0] for entry in found}
        # IPv4 first: many servers on localhost listen there alone.
        ordered = sorted(filter(is_somewhere, literals), key=lambda literal: (":" in literal, literal))
        self._addresses[name] = tuple(ordered[:ADDRESSES_PER_NAME_MAX])


def _names_of(messages: Iterable[pb.Endpoints]) -> set[str]:
    return {
        item.address for message in messages for item in message.endpoints if not is_literal(item.address)
    }


def _sources_of(messages: Iterable[pb.Endpoints]) -> list[pb.UpstreamSource]:
    return [source for message in messages for source in message.sources]


def is_literal(address: str) -> bool:
    """Whether an address is an IP literal, or the path or abstract name (`@…`) of a Unix socket."""
    if is_socket(address):
        return True
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True
