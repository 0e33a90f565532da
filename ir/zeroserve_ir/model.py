"""The model: what a cluster's objects ask for, free of Kubernetes types.

In: the operator's building, from objects. Out: rendering, to one `tree.Site` per host and scheme, and
drafting, to resources. Every type is frozen and hashable, so equal models are equal values and a host whose
model did not change is neither rendered nor lowered again. Each part carries its origin, which takes no part
in comparison: two hosts with the same routes from different objects share a program.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from zeroserve_ir.sources import Origin
from zeroserve_ir.tree import Handler as TreeHandler
from zeroserve_ir.tree import Route as TreeRoute
from zeroserve_ir.tree import ServiceReference

NO_ORIGIN = Origin("", "", "")


class PathKind(Enum):
    """How a path is compared (Ingress `pathType`, and what ingress-nginx makes of it)."""

    EXACT = "exact"
    PREFIX = "prefix"
    """Element by element: `/foo` covers `/foo/bar`, not `/foobar`."""
    TEXT_PREFIX = "text prefix"
    """Character by character: `/foo` covers `/foobar`, as an nginx location without a modifier."""
    REGEXP = "regexp"
    """Case-insensitive, anchored at the start only."""


@dataclass(frozen=True, slots=True)
class PathRule:
    """A path to compare the normalised request path with; for REGEXP, RE2 syntax."""

    kind: PathKind
    path: str


class BackendProtocol(Enum):
    """How a Service is spoken to."""

    HTTP = "http"
    HTTPS = "https"
    GRPC = "grpc"
    GRPCS = "grpcs"

    @property
    def secure(self) -> bool:
        """Whether it is spoken over TLS."""
        return self in (BackendProtocol.HTTPS, BackendProtocol.GRPCS)

    @property
    def versions(self) -> tuple[str, ...]:
        """`versions` of `transport http`: gRPC is HTTP/2 alone."""
        return {BackendProtocol.GRPC: ("h2c",), BackendProtocol.GRPCS: ("2",)}.get(self, ())


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Deadlines of one route towards its Service, in milliseconds; 0 is the engine's default."""

    connect_ms: int = 0
    read_ms: int = 0
    send_ms: int = 0


NO_TIMEOUTS = Timeouts()


class HttpsRedirect(Enum):
    """Whether plain HTTP is answered by a redirect to HTTPS."""

    NEVER = "never"
    WHERE_TLS = "where TLS is set for the host"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class CrossOrigin:
    """Cross-origin resource sharing as ingress-nginx answers it."""

    origins: tuple[str, ...]
    """`*` alone, or origins such as `https://*.example.com`; none: no origin is allowed."""
    methods: str
    headers: str
    expose: str
    credentials: bool
    age_max_s: int


@dataclass(frozen=True, slots=True)
class PasswordFile:
    """The accounts that basic authentication lets in: (name, password hash)."""

    realm: str
    accounts: tuple[tuple[str, str], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a route answers 503 whatever is asked: its access control could not be honoured."""

    reason: str


@dataclass(frozen=True, slots=True)
class PathRoute:
    """One path of a host: its Service, and what is done before a request reaches it."""

    rule: PathRule
    backend: ServiceReference | None
    """None: nothing can serve it, 503."""
    protocol: BackendProtocol = BackendProtocol.HTTP
    timeouts: Timeouts = NO_TIMEOUTS
    redirect: HttpsRedirect = HttpsRedirect.WHERE_TLS
    rewrite: str | None = None
    """New path; `$1` to `$9` are captures of a REGEXP rule."""
    body_bytes_max: int | None = None
    """0 is no limit, None the default."""
    allowed: tuple[tuple[str, ...], ...] = ()
    """Lists of CIDRs; the client must lie in each list."""
    passwords: PasswordFile | None = None
    cross_origin: CrossOrigin | None = None
    plugins: tuple[TreeHandler, ...] = ()
    """Calls of plugins' hooks, before all else."""
    denial: Denial | None = None
    origin: Origin = field(default=NO_ORIGIN, compare=False)


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """One host name's routes, first match first; or a site body that a ZeroserveRoute brings instead."""

    host: str
    """Lower case, `*.` for a wildcard label, "" for any host."""
    routes: tuple[PathRoute, ...]
    body: tuple[TreeRoute, ...] = ()
    errors: tuple[TreeRoute, ...] = ()
    tls: bool = False
    certificates: tuple[str, ...] = ()
    """Certificate names, `namespace/secret`."""
    passthrough: ServiceReference | None = None
    """TLS passes through to it; the routes are those of plain HTTP."""
    origins: tuple[Origin, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class EndpointAddress:
    """One address that serves a Service's port; `draining` ones are used where no other is left."""

    address: str
    port: int
    draining: bool = False
    zones: tuple[str, ...] = ()
    """Whose nodes prefer it; none: every node may."""


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """A Secret that hosts want to be served with."""

    namespace: str
    secret: str
    hosts: tuple[str, ...]
    origins: tuple[Origin, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        """Name of the Certificate resource."""
        return f"{self.namespace}/{self.secret}"
