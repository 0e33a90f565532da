"""Settings of the operator, and the part of them that a build depends on.

In: the command line (`zeroserve operator`) or `zeroserve dev`. Out: frozen values; `BuildSettings` is an
input of every build, so it crosses to the build process and must stay comparable.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from zeroserve_ir.sampling import TraceSampling
from zeroserve_ir.tree import ServiceReference

from zeroserve_operator.artifacts.registries import RegistryPolicy
from zeroserve_operator.resources.objects import LABEL_PATTERN

CONTROLLER = "zeroserve.dev/ingress-controller"
DEFAULT_CERTIFICATE = "zeroserve-default-certificate"


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """A port of the data plane; `external_port` is what clients see."""

    name: str
    port: int
    external_port: int
    tls: bool
    proxy_protocol: bool = False
    address: str = ""


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """A port of the data plane whose connections, or datagrams, go to a Service unread."""

    port: int
    """What clients see."""
    service: ServiceReference
    """Its port ends with `/UDP` where datagrams are passed."""
    bound_port: int
    """What the engine listens on, which holds no capability for low ports in a cluster."""
    datagrams: bool = False
    address: str = ""
    reads_header: bool = False
    """Connections begin with a PROXY header, from trusted proxies only."""
    writes_header: bool = False
    """The Service gets one (version 1)."""

    @property
    def name(self) -> str:
        """The listener's, and that of the Pod's port."""
        return f"{'udp' if self.datagrams else 'tcp'}-{self.port}"


class TracedHosts(Enum):
    """Whose requests become spans that nodes export."""

    NONE = "none"
    MARKED = "marked"
    """Those of ZeroserveRoutes with `tracing`."""
    ALL = "all"


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """Spans of the nodes."""

    hosts: TracedHosts = TracedHosts.NONE
    sampling: TraceSampling | None = None
    """None: as `parentbased_always_on`."""


NO_TRACING = TracingSettings()


@dataclass(frozen=True, slots=True)
class SharedService:
    """A Service that routes of every namespace may ask (`auth-url`)."""

    namespace: str
    name: str
    port: str = ""
    """A number; "" is any port of it."""

    def covers(self, service: ServiceReference) -> bool:
        """Tell whether a reference is to it."""
        same = (self.namespace, self.name) == (service.namespace, service.name)
        return same and self.port in ("", service.port)


def read_shared_service(text: str) -> SharedService:
    """Read `NAMESPACE/NAME[:PORT]`; ValueError says what is wrong."""
    found = re.fullmatch(r"(?P<namespace>[^/:]+)/(?P<name>[^/:]+)(?::(?P<port>[1-9][0-9]{0,4}))?", text)
    if found and all(LABEL_PATTERN.fullmatch(found[part]) for part in ("namespace", "name")):
        return SharedService(found["namespace"], found["name"], found["port"] or "")
    raise ValueError(f"{text!r} is not NAMESPACE/NAME[:PORT] of a Service")


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """What a build depends on besides the objects."""

    controller: str = CONTROLLER
    classes: tuple[str, ...] = ()
    """Class names that are ours; none: those whose IngressClass names our controller."""
    claim_all: bool = False
    """Serve every Ingress, whatever its class: `zeroserve dev`."""
    claim_without_class: bool = False
    local: bool = False
    """Without a cluster: slices need no owner, loopback and link-local endpoints may be dialled."""
    honour_restrictions: bool = True
    """False serves routes whose access control we do not honour, open: the explicit switch."""
    shared_auth_services: tuple[SharedService, ...] = ()
    """Services that `auth-url` may name beside those of an Ingress' own namespace."""
    default_certificate: str = ""
    """`namespace/secret` for unknown names and missing Secrets."""
    trusted_proxies: tuple[str, ...] = ()
    """CIDRs whose forwarding headers and PROXY protocol are believed."""
    listeners: tuple[ListenerSettings, ...] = (
        ListenerSettings("http", 8080, 80, tls=False),
        ListenerSettings("https", 8443, 443, tls=True),
    )
    streams: tuple[StreamSettings, ...] = ()
    """Ports beside those of HTTP."""
    access_log: bool = True
    request_body_bytes_max: int = 0
    drain_timeout_ms: int = 0
    strict_encoded_slash: bool = False
    endpoint_addresses_denied: tuple[str, ...] = ()
    """Further CIDRs that no Service may lead to, such as the nodes' own."""
    explain_key: bytes = field(default=b"", repr=False)
    """Signs the debug headers that nodes explain a request for; none: no request is explained."""
    tracing: TracingSettings = NO_TRACING

    @property
    def services(self) -> tuple[tuple[str, str], ...]:
        """Namespace and name of the Services that the settings themselves name."""
        streams = [(stream.service.namespace, stream.service.name) for stream in self.streams]
        return (*streams, *((one.namespace, one.name) for one in self.shared_auth_services))

    @property
    def https_port(self) -> int:
        """The port that clients reach HTTPS at; 443 where nothing listens for TLS."""
        return next((item.external_port for item in self.listeners if item.tls), 443)

    @property
    def http_port(self) -> int:
        """The port that clients reach plain HTTP at."""
        return next((item.external_port for item in self.listeners if not item.tls), 80)


DEFAULT_BUILD = BuildSettings()
NO_REGISTRY = RegistryPolicy()


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """All settings of `zeroserve operator`."""

    build: BuildSettings = DEFAULT_BUILD
    namespace: str = "zeroserve-system"
    """The operator's own: Lease, default certificate, CA."""
    identity: str = "operator"
    """Name of this replica: the Pod's."""
    lease_name: str = "zeroserve-operator"
    lease_duration_s: int = 15
    watch_namespaces: tuple[str, ...] = ()
    """None: the whole cluster."""
    publish_addresses: tuple[str, ...] = ()
    """IPs and host names for the status of Ingresses."""
    publish_service: str = ""
    """`namespace/service` whose load balancer's addresses are published where none are given."""
    holdoff_ms: int = 20
    holdoff_max_ms: int = 200
    metrics_port: int = 9180
    secret_refresh_s: int = 15
    """How often Secrets that are read by name are read again."""
    update_status: bool = True
    registries: RegistryPolicy = NO_REGISTRY
    """Where plugins may be pulled from, and whose signatures count."""
    resync_s: int = 60
    """How often the watches are compared with listings."""

    @staticmethod
    def in_cluster(
        namespace: str, pod_name: str, build: BuildSettings = DEFAULT_BUILD, **others: Any
    ) -> OperatorSettings:
        """Return the settings of a Pod of the chart: names follow from the Deployment's."""
        operator = re.sub(r"-[a-z0-9]+-[a-z0-9]{5}$", "", pod_name) or "zeroserve-operator"
        certificate = build.default_certificate or f"{namespace}/{DEFAULT_CERTIFICATE}"
        return OperatorSettings(
            build=replace(build, default_certificate=certificate),
            namespace=namespace,
            identity=pod_name,
            **{
                "lease_name": operator,
                "publish_service": f"{namespace}/{operator.removesuffix('-operator')}-dataplane",
                **others,
            },
        )
