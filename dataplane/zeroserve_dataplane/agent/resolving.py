"""Names of upstreams to addresses, since the engine dials literals only.

In: Endpoints whose addresses may be DNS names. Out: Endpoints of literals, each name's share spread over
its addresses. Who calls: `applying`. Rule: a name that cannot be resolved now keeps the addresses it had; one
that never could has none, and its cluster answers 503 until it can.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
import socket
from collections.abc import Iterable

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import make_resource

logger = logging.getLogger(__name__)

REFRESH_S = 10.0
"""Between two looks at a name: resolvers cache by TTL, failovers by DNS are this slow anyway."""
TIMEOUT_S = 5.0
LOOKUPS_AT_ONCE_MAX = 16
ADDRESSES_PER_NAME_MAX = 64


class Resolver:
    """Addresses by name; asks the system's resolver (hosts file, DNS)."""

    def __init__(self) -> None:
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._slots = asyncio.Semaphore(LOOKUPS_AT_ONCE_MAX)

    async def ensure(self, endpoints: Iterable[pb.Resource]) -> None:
        """Look up the names that were never looked up."""
        await self._look_up(find_names(endpoints) - self._addresses.keys())

    async def refresh(self, endpoints: Iterable[pb.Resource]) -> bool:
        """Look up all names again; whether an address changed."""
        names = find_names(endpoints)
        before = dict(self._addresses)
        self._addresses = {name: found for name, found in before.items() if name in names}
        await self._look_up(names)
        return any(before.get(name) != self._addresses.get(name) for name in names)

    def resolve(self, resource: pb.Resource) -> pb.Resource:
        """Return the Endpoints with literals only; itself where there were no names."""
        if not find_names([resource]):
            return resource
        message = pb.Endpoints.FromString(resource.payload)
        found = [self._addresses.get(item.address, (item.address,)) for item in message.endpoints]
        found = [tuple(filter(is_literal, addresses)) for addresses in found]
        shares = math.lcm(*(len(addresses) for addresses in found if addresses))
        resolved = pb.Endpoints(name=message.name)
        for item, addresses in zip(message.endpoints, found, strict=True):
            for address in addresses:
                share = max(item.weight, 1) * (shares // len(addresses))
                resolved.endpoints.add(
                    address=address, port=item.port, weight=min(share, 1 << 16), draining=item.draining
                )
        return make_resource(resolved)

    async def _look_up(self, names: Iterable[str]) -> None:
        await asyncio.gather(*(self._look_up_one(name) for name in names))

    async def _look_up_one(self, name: str) -> None:
        try:
            async with self._slots, asyncio.timeout(TIMEOUT_S):
                found = await asyncio.get_running_loop().getaddrinfo(
                    name, None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
                )
        except (OSError, UnicodeError) as error:  # TimeoutError is an OSError
            logger.warning("upstream %s cannot be resolved: %s", name, error or "timeout")
            self._addresses.setdefault(name, ())
            return
        literals = {str(entry[4][0]).partition("%")[0] for entry in found}
        # IPv4 first: many servers on localhost listen there alone.
        ordered = sorted(literals, key=lambda literal: (":" in literal, literal))
        self._addresses[name] = tuple(ordered[:ADDRESSES_PER_NAME_MAX])


def find_names(endpoints: Iterable[pb.Resource]) -> set[str]:
    """Return the addresses that are names."""
    return {
        item.address
        for resource in endpoints
        for item in pb.Endpoints.FromString(resource.payload).endpoints
        if not is_literal(item.address)
    }


def is_literal(address: str) -> bool:
    """Whether an address is an IP literal."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True
