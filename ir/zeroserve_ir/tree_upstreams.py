"""The route tree's part about upstreams: addresses, selection, health, dynamic sources, transport.

In: the readers of `reverse_proxy` and the operator's rendering. Out: lowering, the printer, the JSON
encoder. The shape is that of Caddy's JSON (reverseproxy.go); 0, "" and () are Caddy's defaults; durations
are milliseconds, sizes bytes. `tree` exports all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Selection(Enum):
    """How an upstream is chosen (Caddy: lb_policy; `peak_ewma` is ours)."""

    RANDOM = "random"
    RANDOM_CHOOSE = "random_choose"
    ROUND_ROBIN = "round_robin"
    WEIGHTED_ROUND_ROBIN = "weighted_round_robin"
    LEAST_CONNECTIONS = "least_conn"
    FIRST = "first"
    IP_HASH = "ip_hash"
    CLIENT_IP_HASH = "client_ip_hash"
    URI_HASH = "uri_hash"
    QUERY = "query"
    HEADER = "header"
    COOKIE = "cookie"
    PEAK_EWMA = "peak_ewma"


@dataclass(frozen=True, slots=True)
class SelectionPolicy:
    """A selection with its arguments."""

    selection: Selection
    choose: int = 0
    """Of random_choose: how many are compared."""
    weights: tuple[int, ...] = ()
    """Of weighted_round_robin: by upstream, in order; 0 takes one out."""
    key: str = ""
    """Query key, header field or cookie name; the cookie's default is `lb`."""
    secret: str = ""
    """Of cookie: the key that upstreams' names are signed with (HMAC-SHA256)."""
    max_age_ms: int = 0
    fallback: SelectionPolicy | None = None
    """Where the request has no such key; random without one."""


RANDOM_SELECTION = SelectionPolicy(Selection.RANDOM)


FIRST_PORT = ""


@dataclass(frozen=True, slots=True)
class ServiceReference:
    """A port of a Kubernetes Service; its endpoints are a resource of their own."""

    namespace: str
    name: str
    port: str
    """Port number or name, as decimal or text; `FIRST_PORT` is the first one of TCP."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """One upstream: an address to dial, or a Service whose ready endpoints are dialled."""

    dial: str
    """`host:port`, `[v6]:port`, `unix//path`; for a Service `name.namespace.svc:port`, so that it prints."""
    service: ServiceReference | None = None


@dataclass(frozen=True, slots=True)
class ActiveHealth:
    """`health_*`: probes that a node sends to each upstream (healthchecks.go)."""

    uri: str = ""
    path: str = ""
    """`health_path`, deprecated."""
    upstream: str = ""
    """Probed in the upstreams' stead."""
    port: int = 0
    method: str = ""
    body: str = ""
    headers: tuple[tuple[str, tuple[str, ...]], ...] = ()
    follow_redirects: bool = False
    interval_ms: int = 0
    timeout_ms: int = 0
    passes: int = 0
    fails: int = 0
    status: int = 0
    """Expected: a status, or its first digit."""
    body_regexp: str = ""
    protocol: str = ""
    """Ours: `tcp` takes a connection for health, `grpc` asks grpc.health.v1; "" is HTTP."""


@dataclass(frozen=True, slots=True)
class PassiveHealth:
    """`fail_duration` and the like: what answers to users' requests tell."""

    fail_duration_ms: int = 0
    max_fails: int = 0
    request_count: int = 0
    """An upstream with so many requests under way is not chosen."""
    status: tuple[int, ...] = ()
    latency_ms: int = 0


class SourceKind(Enum):
    """Where dynamic upstreams come from."""

    A = "a"
    SRV = "srv"
    MULTI = "multi"


@dataclass(frozen=True, slots=True)
class UpstreamSource:
    """`dynamic`: upstreams by DNS (upstreams.go)."""

    kind: SourceKind
    name: str = ""
    port: str = ""
    service: str = ""
    proto: str = ""
    refresh_ms: int = 0
    resolvers: tuple[str, ...] = ()
    dial_timeout_ms: int = 0
    dial_fallback_delay_ms: int = 0
    grace_period_ms: int = 0
    versions: tuple[str, ...] = ()
    """`ipv4`, `ipv6`; none is both."""
    sources: tuple[UpstreamSource, ...] = ()
    """Of multi."""


@dataclass(frozen=True, slots=True)
class TrustPool:
    """`tls_trust_pool`: the provider, its PEM files or its certificates as base64 of DER."""

    provider: str
    files: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """TLS towards the upstream (Caddy: transport http { tls … })."""

    server_name: str = ""
    insecure_skip_verify: bool = False
    trusted_ca_pem: str = ""
    trusted_ca_files: tuple[str, ...] = ()
    """`tls_trusted_ca_certs`: PEM files, read when the site is built."""
    trust_pool: TrustPool | None = None
    client_certificate_file: str = ""
    client_key_file: str = ""
    client_certificate_automate: str = ""
    client_certificate_pem: str = ""
    client_key_pem: str = field(default="", repr=False)
    """`tls_client_auth`: read from the files when the site is built."""
    handshake_timeout_ms: int = 0
    renegotiation: str = ""
    except_ports: tuple[str, ...] = ()
    """Upstreams with these ports are spoken to without TLS."""
    curves: tuple[str, ...] = ()


NO_KEEPALIVE_MS = -(1 << 63)
"""`keepalive off`, which no duration of Go is."""


@dataclass(frozen=True, slots=True)
class HttpTransport:
    """`transport http`."""

    tls: UpstreamTls | None = None
    dial_timeout_ms: int = 0
    dial_fallback_delay_ms: int = 0
    response_header_timeout_ms: int = 0
    expect_continue_timeout_ms: int = 0
    read_timeout_ms: int = 0
    write_timeout_ms: int = 0
    keepalive_ms: int = 0
    """How long an idle connection is kept; less than 0: for ever (Go)."""
    keepalive_interval_ms: int = 0
    idle_connections_max: int = 0
    idle_connections_per_host_max: int = 0
    connections_per_host_max: int = 0
    versions: tuple[str, ...] = ()
    compression_off: bool = False
    read_buffer_bytes: int = 0
    write_buffer_bytes: int = 0
    response_header_bytes_max: int = 0
    proxy_protocol: str = ""
    """`v1` or `v2`: the PROXY header that begins a connection."""
    network_proxy: tuple[str, ...] = ()
    """(kind, URL): `none` or `url`."""
    resolvers: tuple[str, ...] = ()
    local_address: str = ""


DEFAULT_TRANSPORT = HttpTransport()


@dataclass(frozen=True, slots=True)
class OutlierEjection:
    """`outlier_ejection` (ours): upstreams that fail in a row are left out for a while."""

    failures: int
    duration_ms: int = 30_000
    """Times the number of ejections in a row."""
    share_percent: int = 50
    """Never more of the upstreams than this."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """`mirror` (ours): an upstream that gets a copy of some requests; nobody waits for its answers."""

    upstream: Upstream
    scheme: str = ""
    """As it was written: "", `http`, `https` or `h2c`."""
    percent: int = 100


@dataclass(frozen=True, slots=True)
class Resilience:
    """What stock Caddy has no words for: `slow_start`, `retry_budget`, `max_requests`, `queue` …"""

    slow_start_ms: int = 0
    """The weight of an upstream that joins rises for so long."""
    retry_budget_percent: int = 0
    """Retries per requests of a node; 0 is no bound."""
    hedge_after_ms: int = 0
    """Another upstream is asked too where one is silent for so long; 0: it is waited for."""
    hedge_budget_percent: int = 0
    """Such second requests per requests of a node; 0 is the engine's default."""
    requests_max: int = 0
    """Requests under way to all upstreams, of a node."""
    queue_max: int = 0
    """Requests that wait where all is taken, of a node."""
    queue_timeout_ms: int = 0
    outliers: OutlierEjection | None = None
    mirrors: tuple[Mirror, ...] = ()


NO_RESILIENCE = Resilience()
