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
from zeroserve_ir.tree import MatcherSet, Selection, SelectionPolicy, ServiceReference
from zeroserve_ir.tree import Route as TreeRoute

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
class ServiceTls:
    """What is asked of a Service over TLS, and what it is shown; all certificates are DER."""

    authorities: tuple[bytes, ...] = ()
    """None: any certificate is taken."""
    name: str = ""
    """Sent as server name, and asked of the certificate; "" is the request's host."""
    chain: tuple[bytes, ...] = ()
    """Shown where the Service asks for one, leaf first."""
    key: bytes = field(default=b"", repr=False)
    """PKCS#8."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Deadlines of one route towards its Service, in milliseconds; 0 is the engine's default."""

    connect_ms: int = 0
    read_ms: int = 0
    send_ms: int = 0


NO_TIMEOUTS = Timeouts()


class ClientMode(Enum):
    """What is asked of clients beside a proof that their certificate is theirs."""

    REQUIRED = "one that an authority signed"
    OPTIONAL = "none, or one that an authority signed"
    UNVERIFIED = "none, or any"


@dataclass(frozen=True, slots=True)
class ClientAuthentication:
    """Certificates that clients of a host are asked for."""

    mode: ClientMode
    authorities: tuple[bytes, ...]
    """DER."""
    depth: int
    """Certificates above a client's, the authority's included."""


@dataclass(frozen=True, slots=True)
class ClientCheck:
    """What a route does with the certificate of a client; it is never served without TLS."""

    mode: ClientMode
    subject: str = ""
    """RE2 that the certificate's subject must match; "" is any."""
    passes: bool = False
    """The Service gets the certificate."""


@dataclass(frozen=True, slots=True)
class TrafficLimits:
    """How much of a Service one client may use; 0 is no limit (ingress-nginx: `limit-*`)."""

    owner: str
    """Whose limits these are: routes of a host with one owner count requests together."""
    per_second: int = 0
    per_minute: int = 0
    burst_factor: int = 1
    """Times a rate, so many requests may come at once beyond the first."""
    connections: int = 0
    """Requests under way."""
    exempt: tuple[str, ...] = ()
    """CIDRs of clients that nothing but the bandwidth is limited for."""
    bytes_per_second: int = 0
    free_bytes: int = 0
    """Bytes of an answer before its bandwidth is limited."""

    @property
    def is_effective(self) -> bool:
        """Whether anything is limited."""
        return bool(self.per_second or self.per_minute or self.connections or self.bytes_per_second)


@dataclass(frozen=True, slots=True)
class Redirect:
    """An answer with another address, a text of the tree."""

    status: int
    location: str


_ROUND_ROBIN = SelectionPolicy(Selection.ROUND_ROBIN)


@dataclass(frozen=True, slots=True)
class Forwarding:
    """How requests go to a Service, beside its protocol and timeouts."""

    selection: SelectionPolicy = _ROUND_ROBIN
    retries: int = 0
    try_duration_ms: int = 0
    retry_match: tuple[MatcherSet, ...] = ()
    host: str = ""
    """Sent as Host in place of the client's; a text of the tree."""
    prefix: str = ""
    """X-Forwarded-Prefix of rewritten requests; a text of the tree."""
    mirror: ServiceReference | None = None
    """It gets a copy of each request."""


ROUND_ROBIN = Forwarding()


@dataclass(frozen=True, slots=True)
class CanaryRule:
    """Which requests go to another Service than the others, first match first."""

    header: str = ""
    header_value: str = ""
    """Sends requests there, as `always` does where neither this nor a pattern is set; `never` keeps them."""
    header_pattern: str = ""
    """RE2, where no value is set."""
    cookie: str = ""
    """`always` and `never`."""
    weight: int = 0
    weight_total: int = 100
    """`weight` of so many of the other requests, at random."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A Service that gets some requests of a route."""

    rule: CanaryRule
    backend: ServiceReference


@dataclass(frozen=True, slots=True)
class FieldEdit:
    """A header field that is set in the place of any of its name; values are texts of the tree."""

    name: str
    """With `*` at its end, where it is removed: all that begin so."""
    value: str = ""
    """"" removes it."""
    is_sparse: bool = False
    """The value may be empty, which removes it, too."""


@dataclass(frozen=True, slots=True)
class AddedField:
    """A header field of answers that stands beside others of its name."""

    name: str
    value: str
    always: bool = False
    """In answers of any status, not only where nginx adds fields."""
    is_sparse: bool = False
    """The value may be empty, and is left out then."""


@dataclass(frozen=True, slots=True)
class HeaderEdits:
    """Changes of header fields, beyond those of other parts of a route."""

    answered: tuple[FieldEdit, ...] = ()
    """Of all answers."""
    added: tuple[AddedField, ...] = ()
    hidden: tuple[str, ...] = ()
    """Not passed on of a Service's answers."""
    taken: tuple[FieldEdit, ...] = ()
    """Of requests, before a Service is chosen."""
    sent: tuple[FieldEdit, ...] = ()
    """Of requests to the Service."""


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
class ExternalCheck:
    """What a Service is asked about a request before it goes on; texts are those of the tree."""

    host: str
    """Host of the question."""
    uri: str
    """Path and query."""
    method: str
    copied: tuple[str, ...] = ()
    """Fields of its answer that the request gets; what a client sends under these names is dropped."""
    signin: str = ""
    """Where a client is sent in place of 401; "" is nowhere."""
    told: str = ""
    """X-Auth-Request-Redirect of the question."""
    keeps_cookie: bool = False
    """Its cookie is set whatever the status of the answer is."""


@dataclass(frozen=True, slots=True)
class ExternalAuth:
    """A Service that says whether a request may go on."""

    check: ExternalCheck
    service: ServiceReference
    secure: bool
    """It is asked over TLS."""
    tls: ServiceTls | None = None
    """None: its certificate is not verified."""


@dataclass(frozen=True, slots=True)
class ErrorPages:
    """A Service that answers in place of errors; also whole requests, where no endpoint can take them."""

    service: ServiceReference
    statuses: tuple[int, ...] = ()
    """Errors whose answers it gives."""
    intercepts: bool = True
    """Also in place of such answers of the Service, not only of what went wrong before."""
    owner: str = ""
    """Name of the Ingress, which the page is told."""


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
    service_tls: ServiceTls | None = None
    """None: over TLS its certificate is not verified."""
    timeouts: Timeouts = NO_TIMEOUTS
    redirect: HttpsRedirect = HttpsRedirect.WHERE_TLS
    rewrite: str | None = None
    """New path; `$1` to `$9` are captures of a REGEXP rule."""
    body_bytes_max: int | None = None
    """0 is no limit, None the default."""
    allowed: tuple[tuple[str, ...], ...] = ()
    """Lists of CIDRs; the client must lie in each list."""
    denied: tuple[str, ...] = ()
    """CIDRs of clients that are kept out."""
    passwords: PasswordFile | None = None
    any_suffices: bool = False
    """A client within `allowed` needs no password, one with a password may come from elsewhere."""
    external: ExternalAuth | None = None
    """Asked besides; with `any_suffices`, of clients outside `allowed` only."""
    external_pending: bool = False
    """Closed: the Service to ask lies behind a path of the host, and not all of them are known yet."""
    client: ClientCheck | None = None
    limits: TrafficLimits | None = None
    moved: Redirect | None = None
    """All requests are answered by it; the Service is not asked."""
    root: str = ""
    """Where requests for `/` are sent; a text of the tree."""
    forwarding: Forwarding = ROUND_ROBIN
    canary: Canary | None = None
    error_pages: ErrorPages | None = None
    logged: bool = True
    header_edits: HeaderEdits | None = None
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
    clients: ClientAuthentication | None = None
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
