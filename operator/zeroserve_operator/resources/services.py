"""Service and EndpointSlice.

In: raw objects. Out: `Service`, `EndpointSlice`, with ports and addresses as written; which of them are
dialled is decided in `building.endpoints`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zeroserve_ir.diagnostics import Diagnostic

from zeroserve_operator.resources.objects import Kind, Meta, ObjectKey, Parsed, read_meta
from zeroserve_operator.resources.reading import Reader, digest_raw

SERVICE_LABEL = "kubernetes.io/service-name"
EXTERNAL_NAME = "ExternalName"


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port; its name is what EndpointSlices know it by."""

    name: str
    number: int
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True)
class Service:
    """A Service, as far as it is read."""

    meta: Meta
    type: str
    ports: tuple[ServicePort, ...]
    addresses: tuple[str, ...] = field(default=(), compare=False)
    """`status.loadBalancer.ingress`: IPs and host names, for the status of Ingresses."""


@dataclass(frozen=True, slots=True)
class SliceEndpoint:
    """One endpoint's addresses and conditions (discovery.k8s.io/v1 EndpointConditions)."""

    addresses: tuple[str, ...]
    ready: bool
    serving: bool
    terminating: bool
    zones: tuple[str, ...] = ()
    """Hints: zones whose nodes should prefer it."""


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    """An EndpointSlice, as far as it is read."""

    meta: Meta
    service: str
    """Label `kubernetes.io/service-name`; "" without one."""
    owned: bool
    """Whether an ownerReference names that Service."""
    ports: tuple[tuple[str, int, str], ...]
    """Name, number and protocol."""
    endpoints: tuple[SliceEndpoint, ...]


def parse_service(key: ObjectKey, raw: Mapping[str, Any]) -> Parsed[Service]:
    """Parse a Service."""
    findings: list[Diagnostic] = []
    reader = Reader(raw, key.origin, findings)
    spec = reader.child("spec")
    status = reader.child("status").child("loadBalancer").items("ingress")
    ports = []
    for port in spec.items("ports"):
        number = port.number("port", 1, 65535)
        if number is None and port.raw.get("port") is None:
            port.complain("port", "is required")
        if number is not None:
            ports.append(ServicePort(port.text("name"), number, port.text("protocol", "TCP")))
    kind = spec.text("type", "ClusterIP")
    addresses = tuple(entry.text("ip") or entry.text("hostname") for entry in status)
    digest = digest_raw(kind, [(port.name, port.number, port.protocol) for port in ports])
    return Parsed(
        Service(read_meta(Kind.SERVICE, reader, digest), kind, tuple(ports), addresses), tuple(findings)
    )


def parse_endpoint_slice(key: ObjectKey, raw: Mapping[str, Any]) -> Parsed[EndpointSlice]:
    """Parse an EndpointSlice."""
    findings: list[Diagnostic] = []
    reader = Reader(raw, key.origin, findings)
    metadata = reader.child("metadata")
    service = dict(metadata.pairs("labels")).get(SERVICE_LABEL, "")
    owners = [(owner.text("kind"), owner.text("name")) for owner in metadata.items("ownerReferences")]
    ports = []
    for port in reader.items("ports"):
        number = port.number("port", 1, 65535)
        if number is not None:
            ports.append((port.text("name"), number, port.text("protocol", "TCP")))
    endpoints = tuple(_parse_endpoint(entry) for entry in reader.items("endpoints"))
    owned = ("Service", service) in owners
    digest = digest_raw(service, owned, ports, [_digest_endpoint(endpoint) for endpoint in endpoints])
    meta = read_meta(Kind.ENDPOINT_SLICE, reader, digest)
    return Parsed(EndpointSlice(meta, service, owned, tuple(ports), endpoints), tuple(findings))


def _parse_endpoint(entry: Reader) -> SliceEndpoint:
    conditions = entry.child("conditions")
    ready, serving = conditions.flag("ready"), conditions.flag("serving")
    # An absent "ready" is to be read as true, an absent "serving" as "ready" (EndpointConditions).
    is_ready = ready is not False
    return SliceEndpoint(
        addresses=entry.texts("addresses"),
        ready=is_ready,
        serving=is_ready if serving is None else serving,
        terminating=conditions.flag("terminating") is True,
        zones=tuple(sorted(zone.text("name") for zone in entry.child("hints").items("forZones"))),
    )


def _digest_endpoint(endpoint: SliceEndpoint) -> list[object]:
    conditions = [endpoint.ready, endpoint.serving, endpoint.terminating]
    return [list(endpoint.addresses), conditions, list(endpoint.zones)]
