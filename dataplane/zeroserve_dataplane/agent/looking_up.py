"""DNS look-ups of one source of upstreams: A, AAAA and SRV records.

In: an `UpstreamSource`. Out: its endpoints with literal addresses. Who calls: `discovering`. Rules: answers
are bounded; what part of a source has no answer (a family of addresses, a target of SRV records) costs the
rest nothing, as in Go's resolver.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
from zeroserve_ir._pb import resources_pb2 as pb

from zeroserve_dataplane.agent.naming_places import find_places, is_somewhere

TIMEOUT_S = 2.4
"""Of one question with its second attempt: SRV records and then their targets fit into a look-up."""
ATTEMPT_TIMEOUT_S = 1.0
ENDPOINTS_PER_SOURCE_MAX = 256
TARGETS_PER_SOURCE_MAX = 64
ADDRESSES_PER_SERVER_MAX = 2
DNS_PORT = 53
_T = TypeVar("_T")


class LookupFailedError(Exception):
    """A source gave no answer; says why."""


async def ask(source: pb.UpstreamSource) -> tuple[tuple[str, int, str], ...]:
    """Return (address, port, name) of a source's endpoints. LookupFailedError where there are none."""
    resolver = await make_resolver(source.resolvers)
    targets = [(source.name, source.port)]
    if source.kind == pb.UpstreamSource.SRV:
        targets = await _find_services(resolver, source.name)
    lookups = (_find_addresses(resolver, name, source, asked=bool(source.resolvers)) for name, _ in targets)
    found = [
        (address, port, name)
        for (name, port), addresses in zip(targets, await _gather_some(lookups), strict=True)
        for address in sorted(addresses)
        if is_somewhere(address)
    ]
    if not found:
        raise LookupFailedError("no address")
    return tuple(dict.fromkeys(found))[:ENDPOINTS_PER_SOURCE_MAX]


async def make_resolver(servers: Iterable[str]) -> dns.asyncresolver.Resolver:
    """Return a resolver that asks these servers, `host` or `host:port`; of none, the system's.

    The system's search list holds for both, as in Go. LookupFailedError where no server is at any address.
    """
    try:
        resolver = dns.asyncresolver.Resolver()
    except dns.resolver.NoResolverConfiguration:
        resolver = dns.asyncresolver.Resolver(configure=False)
    wanted = list(servers)
    if wanted:
        found = await _gather_some(_find_server(server) for server in wanted)
        resolver.nameservers = [server for one in found for server in one]
    resolver.use_search_by_default = True
    resolver.timeout, resolver.lifetime = ATTEMPT_TIMEOUT_S, TIMEOUT_S
    return resolver


async def _find_server(server: str) -> list[dns.nameserver.Nameserver]:
    host, port = _split_server(server)
    if not 0 < port < 1 << 16:
        raise LookupFailedError(f"resolver {server} has no port that there is")
    # IPv4 first: a server on localhost may listen there alone.
    found = sorted(await _find_literals(host), key=lambda literal: ":" in literal)
    return [dns.nameserver.Do53Nameserver(address, port) for address in found[:ADDRESSES_PER_SERVER_MAX]]


async def _gather_some(lookups: Iterable[Awaitable[list[_T]]]) -> list[list[_T]]:
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
    if asked and not _is_literal(name):
        kinds = [dns.rdatatype.A] * source.ipv4 + [dns.rdatatype.AAAA] * source.ipv6
        records = await _gather_some(_query_addresses(resolver, name, kind) for kind in kinds)
        return [address for addresses in records for address in addresses]
    literals = await _find_literals(name)
    if _is_literal(name):
        return literals
    return [literal for literal in literals if (source.ipv6 if ":" in literal else source.ipv4)]


async def _find_literals(name: str) -> list[str]:
    """Return the addresses of a name, by the system; a literal is its own."""
    if _is_literal(name):
        return [str(ipaddress.ip_address(name))]
    try:
        async with asyncio.timeout(TIMEOUT_S):
            entries = await find_places(name)
    except (OSError, UnicodeError) as error:  # TimeoutError is an OSError
        raise LookupFailedError(str(error) or "timeout") from error
    return list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in entries))


def _is_literal(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


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
