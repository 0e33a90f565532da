"""Endpoints: the addresses behind a Service's port.

In: a reference, the Service and its EndpointSlices. Out: addresses, sorted, and what is wrong. This is the
cheap path: Pods come and go without a route being built again. Sources: core/v1 ServiceSpec,
discovery.k8s.io/v1 EndpointConditions; CVE-2021-25740 for what is refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Severity
from zeroserve_ir.model import EndpointAddress
from zeroserve_ir.tree import ServiceReference
from zeroserve_ir.tree_upstreams import FIRST_PORT

from zeroserve_operator.resources.services import EXTERNAL_NAME, EndpointSlice, Service, ServicePort
from zeroserve_operator.settings import BuildSettings

DENIED_ADDRESSES = (
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/3",
    "100.100.100.200/32",
    "::/127",
    "fe80::/10",
    "ff00::/8",
    "fd00:ec2::254/128",
)
"""Loopback, link-local, multicast, and the metadata services of clouds: never behind a Service."""
ENDPOINTS_MAX = 10_000
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a Service does not serve as it should; told to every object that names it."""

    code: Code
    message: str
    severity: Severity = Severity.ERROR
    help: str = ""


@dataclass(frozen=True, slots=True)
class ServiceEndpoints:
    """The addresses behind a reference."""

    addresses: tuple[EndpointAddress, ...]
    problems: tuple[Problem, ...] = ()


def find_endpoints(
    reference: ServiceReference,
    service: Service | None,
    slices: Iterable[EndpointSlice],
    settings: BuildSettings,
) -> ServiceEndpoints:
    """Return the ready addresses of a Service's port, and those that end but still serve as draining."""
    name = f"{reference.namespace}/{reference.name}"
    if service is None:
        return ServiceEndpoints((), (Problem(Code.ZS0302, f"Service {name} is not there: 503"),))
    if service.type == EXTERNAL_NAME:
        message = f"Service {name} is an ExternalName, which is not served: 503"
        return ServiceEndpoints((), (Problem(Code.ZS0307, message),))
    port = _find_port(service, reference.port)
    if port is None:
        return ServiceEndpoints((), (_missing_port(service, reference, name),))
    found: dict[tuple[str, int], EndpointAddress] = {}
    problems: dict[Problem, None] = {}
    denied = _networks(() if settings.local else DENIED_ADDRESSES + settings.endpoint_addresses_denied)
    for item in slices:
        if not item.owned and not settings.local:
            message = f"EndpointSlice {item.meta.key.name} is not owned by Service {name} and is not used"
            problems[Problem(Code.ZS0307, message, Severity.WARNING)] = None
            continue
        _take_slice(item, port, denied, found, problems)
    ordered = sorted(found.values(), key=lambda item: (item.address, item.port))[:ENDPOINTS_MAX]
    if not all(item.zones for item in ordered if not item.draining):
        # Hints count where all endpoints have them (kube-proxy: topology.go).
        ordered = [replace(item, zones=()) for item in ordered]
    return ServiceEndpoints(tuple(ordered), tuple(problems))


def _take_slice(
    item: EndpointSlice,
    port: ServicePort,
    denied: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...],
    found: dict[tuple[str, int], EndpointAddress],
    problems: dict[Problem, None],
) -> None:
    wanted = (port.name, port.protocol)
    numbers = [number for name, number, protocol in item.ports if (name, protocol) == wanted]
    for endpoint in item.endpoints:
        draining = not endpoint.ready and endpoint.serving and endpoint.terminating
        if not endpoint.ready and not draining:
            continue
        for text in endpoint.addresses:
            address = _parse_address(text)
            if address is None or any(address in network for network in denied):
                what = "refused: no Service may lead there" if address else "no IP address"
                message = f"EndpointSlice {item.meta.key.name} holds {text}, which is {what}"
                problems[Problem(Code.ZS0307, message)] = None
                continue
            for number in numbers:
                key = (str(address), number)
                known = found.get(key)
                # During a rollout two slices may hold one address: ready in either is ready.
                if known is None or known.draining:
                    found[key] = EndpointAddress(str(address), number, draining, endpoint.zones)


def _find_port(service: Service, wanted: str) -> ServicePort | None:
    """Find a port by number or name, or the first one; `/UDP` behind it asks for one of UDP."""
    text, _, protocol = wanted.partition("/")
    ports = [port for port in service.ports if port.protocol == (protocol or "TCP")]
    if text == FIRST_PORT:
        return next(iter(ports), None)
    if text.isdecimal():
        return next((port for port in ports if port.number == int(text)), None)
    return next((port for port in ports if port.name == text), None)


def _missing_port(service: Service, reference: ServiceReference, name: str) -> Problem:
    known = ", ".join(
        f"{port.number} ({port.name})" if port.name else f"{port.number}" for port in service.ports
    )
    return Problem(
        Code.ZS0303,
        f"Service {name} has no port {reference.port or 'of TCP'}: 503",
        help=f"it has {known or 'no port'}",
    )


def _parse_address(text: str) -> Address | None:
    """Parse an address; one of IPv4 in the dress of IPv6 counts as what it is."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or (None if address.scope_id else address)
    return address


@lru_cache(64)
def _networks(ranges: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(text, strict=False) for text in ranges)
