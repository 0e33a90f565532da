"""DNS look-ups of one source of upstreams: A, AAAA and SRV records.

In: an `UpstreamSource`. Out: its endpoints with literal addresses. Who calls: `discovering`. Rules: answers
are bounded; what part of a source has no answer (a family of addresses, a target of SRV records) costs the
rest nothing, as in Go's resolver.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Iterable
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
from zeroserve_ir._pb import resources_pb2 as pb

from zeroserve_dataplane.agent.naming_places import find_places

TIMEOUT_S = 2.4
"""Of one question with its second attempt: SRV records and then their targets fit into a look-up."""
ATTEMPT_TIMEOUT_S = 1.0
ENDPOINTS_PER_SOURCE_MAX = 256
TARGETS_PER_SOURCE_MAX = 64
DNS_PORT = 53


class LookupFailedError(Exception):
    """A source gave no answer; says why."""


async def ask(source: pb.UpstreamSource) -> tuple[tuple[str, int, str], ...]:
    """Return (address, port, name) of a source's endpoints. LookupFailedError where there are none."""
    resolver = make_resolver(source.resolvers)
    targets = [(source.name, source.port)]
    if source.kind == pb.UpstreamSource.SRV:
        targets = await _find_services(resolver, source.name)
    lookups = (_find_addresses(resolver, name, source, asked=bool(source.resolvers)) for name, _ in targets)
    found = [
        (address, port, name)
        for (name, port), addresses in zip(targets, await _gather_some(lookups), strict=True)
        for address in sorted(addresses)
    ]
    if not found:
        raise LookupFailedError("no address")
    return tuple(dict.fromkeys(found))[:ENDPOINTS_PER_SOURCE_MAX]


def make_resolver(servers: Iterable[str]) -> dns.asyncresolver.Resolver:
    """Return a resolver that asks these servers, `address` or `address:port`; of none, the system's.

    The system's search list holds for both, as in Go.
    """
    try:
        resolver = dns.asyncresolver.Resolver()
    except dns.resolver.NoResolverConfiguration:
        resolver = dns.asyncresolver.Resolver(configure=False)
    chosen = [dns.nameserver.Do53Nameserver(*_split_server(server)) for server in servers]
    if chosen:
        resolver.nameservers = chosen
    resolver.use_search_by_default = True
    resolver.timeout, resolver.lifetime = ATTEMPT_TIMEOUT_S, TIMEOUT_S
    return resolver


async def _gather_some(lookups: Iterable[Awaitable[list[str]]]) -> list[list[str]]:
    """Return what was found, nothing for a look-up that failed. LookupFailedError where all did."""
    found = await asyncio.gather(*lookups, return_exceptions=True)
    failed = [one for one in found if isinstance(one, BaseException)]
    for error in failed:
        if len(failed) == len(found) or not isinstance(error, LookupFailedError):
            raise error
    return [[] if isinstance(one, BaseException) else one for one in found]


def _split_server(server: str) -> tuple[str, int]:
    """Return address and port; a network such as `udp/` before it is dropped."""
    text = server.rpartition("/")[2]
    host, separator, port = text.rpartition(":")
    if separator and port.isdecimal() and (":" not in host or host.startswith("[")):
        return host.strip("[]"), int(port)
    return text.strip("[]"), DNS_PORT


async def _find_addresses(
    resolver: dns.asyncresolver.Resolver, name: str, source: pb.UpstreamSource, *, asked: bool
) -> list[str]:
    """`asked`: of the resolver's own servers, else of the system (hosts file, DNS)."""
    try:
        return [str(ipaddress.ip_address(name))]
    except ValueError:
        pass
    if asked:
        kinds = [dns.rdatatype.A] * source.ipv4 + [dns.rdatatype.AAAA] * source.ipv6
        records = await _gather_some(_query_addresses(resolver, name, kind) for kind in kinds)
        return [address for addresses in records for address in addresses]
    try:
        async with asyncio.timeout(TIMEOUT_S):
            entries = await find_places(name)
    except (OSError, UnicodeError) as error:  # TimeoutError is an OSError
        raise LookupFailedError(str(error) or "timeout") from error
    literals = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in entries)
    return [literal for literal in literals if (source.ipv6 if ":" in literal else source.ipv4)]


async def _find_services(resolver: dns.asyncresolver.Resolver, name: str) -> list[tuple[str, int]]:
    """Return (target, port) by priority, then by weight (RFC 2782)."""
    records = await _query(resolver, name, dns.rdatatype.SRV)
    ordered = sorted(records, key=lambda record: (record.priority, -record.weight))
    return [
        (record.target.to_text(omit_final_dot=True), record.port)
        for record in ordered[:TARGETS_PER_SOURCE_MAX]
        if record.target != dns.name.root
    ]


async def _query_addresses(
    resolver: dns.asyncresolver.Resolver, name: str, kind: dns.rdatatype.RdataType
) -> list[str]:
    return [record.address for record in await _query(resolver, name, kind)]


async def _query(resolver: dns.asyncresolver.Resolver, name: str, kind: dns.rdatatype.RdataType) -> list[Any]:
    try:
        return list(await resolver.resolve(name, kind))
    except dns.resolver.NoAnswer:
        return []
    except dns.exception.DNSException as error:
        raise LookupFailedError(str(error)) from error
