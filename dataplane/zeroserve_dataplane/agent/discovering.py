"""Upstreams by DNS: A, AAAA and SRV records, of the system's resolver or of others.

In: `UpstreamSource` messages. Out: endpoints with literal addresses. Who calls: `resolving`. Rules: a source
whose lookup fails keeps what it had, for its grace period where it has one; answers are bounded.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
from zeroserve_ir._pb import resources_pb2 as pb

logger = logging.getLogger(__name__)

TIMEOUT_S = 5.0
LOOKUPS_AT_ONCE_MAX = 16
ENDPOINTS_PER_SOURCE_MAX = 256
TARGETS_PER_SOURCE_MAX = 64
REFRESH_S_MIN = 1.0
DNS_PORT = 53


class LookupFailedError(Exception):
    """A source gave no answer; says why."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a source gave, and when (monotonic seconds)."""

    endpoints: tuple[tuple[str, int, str], ...]
    """(address, port, name)."""
    at_s: float


class SourceResolver:
    """Endpoints by source; `clock` is in monotonic seconds."""

    def __init__(self) -> None:
        self.clock = time.monotonic
        self._found: dict[bytes, Found] = {}
        self._asked_at_s: dict[bytes, float] = {}
        self._slots = asyncio.Semaphore(LOOKUPS_AT_ONCE_MAX)

    @property
    def refresh_s(self) -> float:
        """The shortest refresh time of the sources in use."""
        shortest = min(
            (pb.UpstreamSource.FromString(key).refresh_ms for key in self._asked_at_s), default=1 << 30
        )
        return max(shortest / 1000, REFRESH_S_MIN)

    async def ensure(self, sources: Iterable[pb.UpstreamSource]) -> None:
        """Look up the sources that were never looked up."""
        await self._look_up(source for source in sources if _key(source) not in self._asked_at_s)

    async def refresh(self, sources: Iterable[pb.UpstreamSource]) -> bool:
        """Look up the sources whose refresh time has come, forget all others; whether endpoints changed."""
        wanted = {_key(source): source for source in sources}
        self._found = {key: found for key, found in self._found.items() if key in wanted}
        self._asked_at_s = {key: at_s for key, at_s in self._asked_at_s.items() if key in wanted}
        before = {key: self.find(source) for key, source in wanted.items()}
        now_s = self.clock()
        due = [
            source
            for key, source in wanted.items()
            if now_s - self._asked_at_s.get(key, -1e9) >= max(source.refresh_ms / 1000, REFRESH_S_MIN)
        ]
        await self._look_up(due)
        return any(before[key] != self.find(source) for key, source in wanted.items())

    def find(self, source: pb.UpstreamSource) -> tuple[tuple[str, int, str], ...]:
        """Return (address, port, name) of a source's endpoints, as far as they are known and fresh."""
        found = self._found.get(_key(source))
        if found is None:
            return ()
        limit_s = (source.refresh_ms + source.grace_ms) / 1000
        if source.grace_ms and self.clock() - found.at_s > limit_s + TIMEOUT_S:
            return ()
        return found.endpoints

    async def _look_up(self, sources: Iterable[pb.UpstreamSource]) -> None:
        await asyncio.gather(*(self._look_up_one(source) for source in sources))

    async def _look_up_one(self, source: pb.UpstreamSource) -> None:
        key = _key(source)
        self._asked_at_s[key] = self.clock()
        try:
            async with self._slots, asyncio.timeout(TIMEOUT_S):
                endpoints = await _ask(source)
        except (LookupFailedError, TimeoutError) as error:
            logger.warning("upstreams of %s cannot be found: %s", source.name, error or "timeout")
            return
        self._found[key] = Found(endpoints, self.clock())


def _key(source: pb.UpstreamSource) -> bytes:
    return source.SerializeToString(deterministic=True)


async def _ask(source: pb.UpstreamSource) -> tuple[tuple[str, int, str], ...]:
    resolver = make_resolver(source.resolvers)
    if source.kind == pb.UpstreamSource.A:
        addresses = await _find_addresses(resolver, source.name, source)
        found = [(address, source.port, source.name) for address in sorted(addresses)]
    else:
        found = []
        for target, port in await _find_services(resolver, source.name):
            found += [
                (address, port, target) for address in sorted(await _find_addresses(resolver, target, source))
            ]
    if not found:
        raise LookupFailedError("no address")
    return tuple(dict.fromkeys(found))[:ENDPOINTS_PER_SOURCE_MAX]


def make_resolver(servers: Iterable[str]) -> dns.asyncresolver.Resolver | None:
    """Return a resolver that asks these servers, `address` or `address:port`; None for the system's."""
    chosen = list(servers)
    if not chosen:
        return None
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = [dns.nameserver.Do53Nameserver(*_split_server(server)) for server in chosen]
    resolver.lifetime = TIMEOUT_S
    return resolver


def _split_server(server: str) -> tuple[str, int]:
    """Return address and port; a network such as `udp/` before it is dropped."""
    text = server.rpartition("/")[2]
    host, separator, port = text.rpartition(":")
    if separator and port.isdecimal() and (":" not in host or host.startswith("[")):
        return host.strip("[]"), int(port)
    return text.strip("[]"), DNS_PORT


async def _find_addresses(
    resolver: dns.asyncresolver.Resolver | None, name: str, source: pb.UpstreamSource
) -> list[str]:
    try:
        literal = ipaddress.ip_address(name)
    except ValueError:
        pass
    else:
        return [str(literal)]
    kinds = [dns.rdatatype.A] * source.ipv4 + [dns.rdatatype.AAAA] * source.ipv6
    if resolver is not None:
        found = [await _query(resolver, name, kind) for kind in kinds]
        return [record.address for records in found for record in records]
    try:
        entries = await asyncio.get_running_loop().getaddrinfo(name, None, type=1)
    except (OSError, UnicodeError) as error:
        raise LookupFailedError(str(error)) from error
    literals = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in entries)
    return [literal for literal in literals if (source.ipv6 if ":" in literal else source.ipv4)]


async def _find_services(resolver: dns.asyncresolver.Resolver | None, name: str) -> list[tuple[str, int]]:
    """Return (target, port) by priority, then by weight (RFC 2782)."""
    try:
        asked = resolver or dns.asyncresolver.Resolver()
    except dns.resolver.NoResolverConfiguration as error:
        raise LookupFailedError("this machine has no resolver") from error
    records = await _query(asked, name, dns.rdatatype.SRV)
    ordered = sorted(records, key=lambda record: (record.priority, -record.weight))
    return [
        (record.target.to_text(omit_final_dot=True), record.port)
        for record in ordered[:TARGETS_PER_SOURCE_MAX]
        if record.target != dns.name.root
    ]


async def _query(resolver: dns.asyncresolver.Resolver, name: str, kind: dns.rdatatype.RdataType) -> list[Any]:
    try:
        return list(await resolver.resolve(name, kind))
    except dns.resolver.NoAnswer:
        return []
    except dns.exception.DNSException as error:
        raise LookupFailedError(str(error)) from error
