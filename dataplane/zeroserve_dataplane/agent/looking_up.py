"""DNS look-ups of one source of upstreams: A, AAAA and SRV records.

In: an `UpstreamSource`. Out: its endpoints with literal addresses. Who calls: `discovering`. Rule: answers
are bounded.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
from zeroserve_ir._pb import resources_pb2 as pb

from zeroserve_dataplane.agent.naming_places import find_places

TIMEOUT_S = 5.0
ENDPOINTS_PER_SOURCE_MAX = 256
TARGETS_PER_SOURCE_MAX = 64
DNS_PORT = 53


class LookupFailedError(Exception):
    """A source gave no answer; says why."""


async def ask(source: pb.UpstreamSource) -> tuple[tuple[str, int, str], ...]:
    """Return (address, port, name) of a source's endpoints. LookupFailedError where there are none."""
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
        entries = await find_places(name)
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
