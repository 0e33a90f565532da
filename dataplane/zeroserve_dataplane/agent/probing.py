"""Active health of endpoints: probes once a node, told to the engine by the clusters' `down` lists.

In: the clusters and resolved endpoints that are served. Out: clusters with the endpoints that are down. Who
calls: `applying` and `upkeep`. Rules: an endpoint is healthy until its probes failed often enough in a row;
what is known of an endpoint stays known as long as its cluster probes it in the same way; probes at once are
bounded, and no namespace waits for those of another.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import random
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import make_resource

from zeroserve_dataplane.agent.naming_places import is_socket
from zeroserve_dataplane.agent.requesting import Place, UnhealthyError, probe

logger = logging.getLogger(__name__)

PROBES_AT_ONCE_MAX = 256
"""Divided among the namespaces; where there are more of them, each has one."""
TENANT_PROBES_AT_ONCE_MAX = 64
TENANT_PAUSE_S = 0.005
"""Between the beginnings of two probes for one namespace."""
TARGETS_MAX = 4096
"""Endpoints probed by a node; more are taken for healthy, those of who has most first."""
JITTER = 0.1
GREETINGS = {0: b"", 1: b"PROXY UNKNOWN\r\n", 2: b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"}
"""By the version of the PROXY protocol: a header for no client (specification 2.1 UNKNOWN, 2.2 LOCAL)."""
VERSIONS_KEPT_MAX = 100_000
"""Versions of clusters known to have no health checks."""


@dataclass(frozen=True, slots=True)
class Target:
    """One endpoint of one cluster, and how it is probed."""

    cluster: str
    address: str
    """As `join_address` has it."""
    health: bytes
    place: Place = field(compare=False)
    tenant: str = field(default="", compare=False)
    """Namespace of the Service; "" of endpoints that an owner wrote."""


@dataclass(slots=True)
class Record:
    """What probes told of a target."""

    task: asyncio.Task[None]
    passes: int = 0
    fails: int = 0
    down: bool = False


class _Tenant:
    """What the probes of one namespace share: silent or countless endpoints of one hold up no other's."""

    def __init__(self) -> None:
        self._share = TENANT_PROBES_AT_ONCE_MAX
        self._slots = asyncio.Semaphore(self._share)
        self._excess = 0
        """Slots to be taken back as they come free."""
        self._running: list[Target] = []
        self._next_s = 0.0

    def resize(self, share: int) -> list[Target]:
        """Have so many slots; return the targets that are probed in slots beyond, which must begin anew."""
        self._excess += self._share - share
        self._share = share
        while self._excess < 0:
            self._slots.release()
            self._excess += 1
        return self._running[share:]

    @contextlib.asynccontextmanager
    async def take_slot(self, target: Target) -> AsyncIterator[None]:
        """Hold a slot, from when the next probe may begin."""
        await self._slots.acquire()
        while self._excess:
            self._excess -= 1
            await self._slots.acquire()
        self._running.append(target)
        try:
            await self._wait_turn()
            yield
        finally:
            self._running.remove(target)
            self._slots.release()

    async def _wait_turn(self) -> None:
        now_s = asyncio.get_running_loop().time()
        begin_s = max(now_s, self._next_s)
        self._next_s = begin_s + TENANT_PAUSE_S
        await asyncio.sleep(begin_s - now_s)


class Prober:
    """Probes targets; `changed` is set when an endpoint went down or came back."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self._records: dict[Target, Record] = {}
        self._tenants: dict[str, _Tenant] = {}
        self._contexts: dict[bytes, ssl.SSLContext] = {}
        self._down: dict[str, set[str]] = {}
        self._without: set[str] = set()

    def concerns(self, clusters: Iterable[pb.Resource]) -> bool:
        """Whether a change of these clusters, or of any endpoints, changes what is probed."""
        return bool(self._records) or any(self._has_probes(resource) for resource in clusters)

    def watch(
        self, clusters: Iterable[pb.Resource], find_endpoints: Callable[[str], pb.Resource | None]
    ) -> None:
        """Probe the endpoints of these clusters, and no others."""
        wanted: dict[Target, pb.ActiveHealth] = {}
        for resource in clusters:
            if not self._has_probes(resource):
                continue
            cluster = pb.Cluster.FromString(resource.payload)
            for target in self._find_targets(cluster, find_endpoints(cluster.endpoints)):
                wanted[target] = cluster.active_health
        if len(wanted) > TARGETS_MAX:
            logger.warning("%d endpoints have health checks, %d are probed", len(wanted), TARGETS_MAX)
            wanted = {target: wanted[target] for target in _share(wanted)}
        for target in self._records.keys() - wanted.keys():
            self._records.pop(target).task.cancel()
            self._mark(target, down=False)
        tenants = {target.tenant for target in wanted}
        self._tenants = {name: self._tenants.get(name) or _Tenant() for name in tenants}
        share = min(max(PROBES_AT_ONCE_MAX // max(len(tenants), 1), 1), TENANT_PROBES_AT_ONCE_MAX)
        for tenant in self._tenants.values():
            for target in tenant.resize(share):
                self._begin_anew(target, wanted)
        for target, health in wanted.items():
            if target not in self._records:
                self._records[target] = Record(asyncio.create_task(self._probe_forever(target, health)))

    def _begin_anew(self, target: Target, wanted: dict[Target, pb.ActiveHealth]) -> None:
        if record := self._records.get(target):
            record.task.cancel()
            record.task = asyncio.create_task(self._probe_forever(target, wanted[target]))

    def render(self, resource: pb.Resource) -> pb.Resource:
        """Return a cluster with the endpoints that are down; itself where there is none."""
        down = self._down.get(resource.name)
        if not down:
            return resource
        cluster = pb.Cluster.FromString(resource.payload)
        cluster.down.extend(sorted(down))
        return make_resource(cluster)

    def close(self) -> None:
        """Stop all probes."""
        for record in self._records.values():
            record.task.cancel()
        self._records.clear()

    def _has_probes(self, resource: pb.Resource) -> bool:
        if resource.version in self._without:
            return False
        if pb.Cluster.FromString(resource.payload).HasField("active_health"):
            return True
        self._remember_without(resource.version)
        return False

    def _remember_without(self, version: str) -> None:
        if len(self._without) >= VERSIONS_KEPT_MAX:
            self._without.clear()
        self._without.add(version)

    def _mark(self, target: Target, *, down: bool) -> None:
        addresses = self._down.setdefault(target.cluster, set())
        (addresses.add if down else addresses.discard)(target.address)
        if not addresses:
            del self._down[target.cluster]

    def _find_targets(self, cluster: pb.Cluster, resource: pb.Resource | None) -> Iterable[Target]:
        if resource is None:
            return
        health = cluster.active_health
        for endpoint in pb.Endpoints.FromString(resource.payload).endpoints:
            try:
                address = join_address(endpoint.address, endpoint.port)
                place = _find_place(cluster, endpoint, self._find_context(cluster, endpoint.port))
            except (ValueError, OSError) as error:
                logger.warning("%s is not probed: %s", cluster.name, error)
                continue
            key = bytes([cluster.http2]) + place.greeting + health.SerializeToString(deterministic=True)
            key += cluster.tls.SerializeToString(deterministic=True)
            yield Target(cluster.name, address, key, place, _tenant_of(cluster))

    def _find_context(self, cluster: pb.Cluster, port: int) -> ssl.SSLContext | None:
        if not cluster.HasField("tls") or port in cluster.plain_ports:
            return None
        http2 = cluster.tls.http2 or cluster.active_health.protocol == pb.ActiveHealth.GRPC
        key = bytes([http2]) + cluster.tls.SerializeToString(deterministic=True)
        if key not in self._contexts:
            self._contexts[key] = make_context(cluster.tls)
            if http2:
                self._contexts[key].set_alpn_protocols(["h2", "http/1.1"])
        return self._contexts[key]

    async def _probe_forever(self, target: Target, health: pb.ActiveHealth) -> None:
        tenant = self._tenants[target.tenant]
        while True:
            try:
                async with tenant.take_slot(target):
                    await probe(health, target.place)
                reason = ""
            except UnhealthyError as error:
                reason = str(error)
            self._note(target, health, reason)
            await asyncio.sleep(health.interval_ms / 1000 * random.uniform(1 - JITTER, 1 + JITTER))

    def _note(self, target: Target, health: pb.ActiveHealth, reason: str) -> None:
        record = self._records.get(target)
        if record is None:
            return
        record.passes, record.fails = (0, record.fails + 1) if reason else (record.passes + 1, 0)
        down = record.fails >= health.fails if reason else record.down and record.passes < health.passes
        if reason and record.down:
            down = True
        if down != record.down:
            record.down = down
            self._mark(target, down=down)
            state = f"unhealthy: {reason}" if down else "healthy again"
            logger.warning("endpoint %s of %s is %s", target.address, target.cluster, state)
            self.changed.set()


def _tenant_of(cluster: pb.Cluster) -> str:
    """Return the namespace of `namespace/service:port`; "" for other names of endpoints."""
    name, separator, _ = cluster.endpoints.partition("/")
    return name if separator and ":" not in name else ""


def _share(targets: Iterable[Target]) -> list[Target]:
    """Return as many targets as are probed, in turns of the namespaces."""
    counts: dict[str, int] = {}
    turns = []
    for target in targets:
        counts[target.tenant] = counts.get(target.tenant, 0) + 1
        turns.append((counts[target.tenant], target))
    return [target for _, target in sorted(turns, key=lambda turn: turn[0])[:TARGETS_MAX]]


def _find_place(cluster: pb.Cluster, endpoint: pb.Endpoint, tls: ssl.SSLContext | None) -> Place:
    """Return where the probes of an endpoint go. ValueError where it has no such port."""
    health = cluster.active_health
    host, port = endpoint.address, health.port or endpoint.port
    server_name = endpoint.name
    name = f"{endpoint.name or endpoint.address}:{port}"
    if health.upstream:
        host, _, text = health.upstream.rpartition(":")
        name, port = health.upstream, int(text)
    elif is_socket(host):
        if health.port:
            raise ValueError(f"{host} is a socket without ports")
        # As stock Caddy names it (healthchecks.go).
        name = server_name = "localhost"
    greeting = GREETINGS[cluster.proxy_protocol]
    server_name = cluster.tls.server_name or server_name
    return Place(host.strip("[]"), port, name, tls, server_name, cluster.http2, greeting)


def join_address(address: str, port: int) -> str:
    """Return `address:port` as the engine writes it, or a socket's path. ValueError where it is neither."""
    if is_socket(address):
        return address
    literal = ipaddress.ip_address(address)
    if isinstance(literal, ipaddress.IPv6Address) and literal.ipv4_mapped:
        literal = literal.ipv4_mapped
    return f"[{literal}]:{port}" if literal.version == 6 else f"{literal}:{port}"


def make_context(tls: pb.UpstreamTls) -> ssl.SSLContext:
    """Return the context of an upstream's TLS policy. OSError (SSLError) where it cannot be used."""
    context = ssl.create_default_context()
    if tls.trusted_ca:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=b"".join(tls.trusted_ca))
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.client_chain:
        _load_certificate(context, tls)
    return context


def _load_certificate(context: ssl.SSLContext, tls: pb.UpstreamTls) -> None:
    """Load the client certificate from memory: a key never reaches a disk."""
    descriptor = os.memfd_create("client certificate", os.MFD_CLOEXEC)
    try:
        pem = "".join(ssl.DER_cert_to_PEM_cert(der) for der in tls.client_chain)
        key = ssl.DER_cert_to_PEM_cert(tls.client_key).replace("CERTIFICATE", "PRIVATE KEY")
        os.write(descriptor, (pem + key).encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
