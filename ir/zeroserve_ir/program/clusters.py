"""Clusters and their endpoints' names, from `reverse_proxy` handlers.

In: `tree.ReverseProxy`. Out: the Cluster message with a readable name that is unique for its content, so
that handlers with the same upstreams and transport share connections, and the endpoints that it needs.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, DiagnosticError
from zeroserve_ir.program.fitting import I64_MAX, U32_MAX, fit
from zeroserve_ir.program.texts import parse_text
from zeroserve_ir.sources import NOWHERE, Span
from zeroserve_ir.tree import (
    ActiveHealth,
    HttpTransport,
    Mirror,
    PassiveHealth,
    Resilience,
    ReverseProxy,
    Selection,
    SelectionPolicy,
    SourceKind,
    Upstream,
    UpstreamSource,
    UpstreamTls,
)
from zeroserve_ir.tree_upstreams import NO_KEEPALIVE_MS

_BALANCING = {
    Selection.RANDOM: pb.RANDOM,
    Selection.RANDOM_CHOOSE: pb.RANDOM_CHOOSE,
    Selection.ROUND_ROBIN: pb.ROUND_ROBIN,
    Selection.WEIGHTED_ROUND_ROBIN: pb.WEIGHTED_ROUND_ROBIN,
    Selection.LEAST_CONNECTIONS: pb.LEAST_CONNECTIONS,
    Selection.FIRST: pb.FIRST,
    Selection.IP_HASH: pb.REMOTE_IP_HASH,
    Selection.CLIENT_IP_HASH: pb.CLIENT_IP_HASH,
    Selection.URI_HASH: pb.URI_HASH,
    Selection.QUERY: pb.QUERY_HASH,
    Selection.HEADER: pb.HEADER_HASH,
    Selection.COOKIE: pb.COOKIE,
    Selection.PEAK_EWMA: pb.PEAK_EWMA,
}
COOKIE_NAME = "lb"
"""Of a sticky cookie without a name of its own (Caddy: selectionpolicies.go)."""
TRY_INTERVAL_MS = 250
"""Between two attempts where `lb_try_duration` is set (Caddy: reverseproxy.go)."""
KEEPALIVE_OFF_MS = 1
"""An upstream connection that idles so long is not used again: `keepalive off`."""
REFRESH_MS = 60_000
"""Of dynamic upstreams (Caddy: upstreams.go)."""
DEFAULT_PORT = 80
MIRRORED_BODY_BYTES_MAX = 64 << 10
"""Of requests that are mirrored, where `request_buffers` says nothing: longer ones are not copied."""
NAME_LENGTH_MAX = 200


@dataclass(frozen=True, slots=True)
class EndpointsSource:
    """Endpoints that a snapshot must hold under `name`, and where they come from."""

    name: str
    upstreams: tuple[Upstream, ...]
    sources: tuple[UpstreamSource, ...] = ()


def name_endpoints(upstreams: tuple[Upstream, ...], dynamic: UpstreamSource | None = None) -> EndpointsSource:
    """Name endpoints: `namespace/service:port`, `static:address`, `dynamic:…`, joined by commas."""
    names = [
        f"{upstream.service.namespace}/{upstream.service.name}:{upstream.service.port}"
        if upstream.service
        else f"static:{upstream.dial}"
        for upstream in upstreams
    ]
    if dynamic is None:
        return EndpointsSource(",".join(names), upstreams)
    sources = tuple(_flatten(dynamic))
    digest = hashlib.sha256(repr(sources).encode()).hexdigest()[:12]
    readable = "+".join(source.name or source.service for source in sources)
    return EndpointsSource(",".join([f"dynamic:{readable}#{digest}", *names]), upstreams, sources)


def _flatten(source: UpstreamSource) -> Iterator[UpstreamSource]:
    if source.kind is SourceKind.MULTI:
        for inner in source.sources:
            yield from _flatten(inner)
    else:
        yield source


def build_source(source: UpstreamSource) -> pb.UpstreamSource:
    """Return a dynamic source as the agent resolves it."""
    name = source.name
    if source.kind is SourceKind.SRV and (source.service or source.proto):
        name = f"_{source.service}._{source.proto}.{source.name}"
    every = not source.versions
    return pb.UpstreamSource(
        kind=pb.UpstreamSource.SRV if source.kind is SourceKind.SRV else pb.UpstreamSource.A,
        name=name,
        port=fit(int(source.port)) if source.port.isdecimal() else DEFAULT_PORT,
        refresh_ms=fit(source.refresh_ms) or REFRESH_MS,
        resolvers=source.resolvers,
        grace_ms=fit(source.grace_period_ms),
        ipv4=every or "ipv4" in source.versions,
        ipv6=every or "ipv6" in source.versions,
    )


def mirrored_proxy(proxy: ReverseProxy, mirror: Mirror) -> ReverseProxy:
    """Return the handler that a mirror stands for: asks its upstream once, and changes requests alike."""
    transport = {
        "https": HttpTransport(tls=UpstreamTls()),
        "h2c": HttpTransport(versions=("h2c", "2")),
    }.get(mirror.scheme, HttpTransport())
    return ReverseProxy(
        (mirror.upstream,),
        transport=transport,
        request_headers=proxy.request_headers,
        rewrite=proxy.rewrite,
        trusted_proxies=proxy.trusted_proxies,
    )


def build_cluster(proxy: ReverseProxy, span: Span = NOWHERE) -> pb.Cluster:
    """Return the cluster of a handler, whose files were read before.

    DiagnosticError (ZS0110) names what the engine cannot do.
    """
    _refuse_unsupported(proxy, span)
    transport = proxy.transport
    cluster = pb.Cluster(
        endpoints=name_endpoints(proxy.upstreams, proxy.dynamic).name,
        connect_timeout_ms=fit(transport.dial_timeout_ms),
        response_head_timeout_ms=fit(transport.response_header_timeout_ms),
        read_timeout_ms=fit(transport.read_timeout_ms),
        write_timeout_ms=fit(transport.write_timeout_ms),
        keepalive_timeout_ms=_keepalive_ms(transport.keepalive_ms),
        retries=fit(proxy.retries),
        try_duration_ms=fit(proxy.try_duration_ms),
        try_interval_ms=fit(proxy.try_interval_ms) or (TRY_INTERVAL_MS if proxy.try_duration_ms > 0 else 0),
        connections_per_endpoint_max=fit(transport.connections_per_host_max),
        idle_per_endpoint_max=fit(transport.idle_connections_per_host_max),
        proxy_protocol={"": 0, "v1": 1, "v2": 2}[transport.proxy_protocol],
        http2="h2c" in transport.versions,
        stream_timeout_ms=fit(proxy.stream_timeout_ms),
        request_buffer_bytes=min(proxy.request_buffers_bytes, I64_MAX),
        response_buffer_bytes=min(proxy.response_buffers_bytes, I64_MAX),
    )
    _set_resilience(cluster, proxy.resilience)
    if any(upstream.service is None and "{" in upstream.dial for upstream in proxy.upstreams):
        cluster.dials.extend(parse_text(upstream.dial) for upstream in proxy.upstreams)
    if proxy.selection is not None:
        _set_selection(cluster, proxy.selection)
    if proxy.passive_health is not None:
        cluster.passive_health.CopyFrom(_build_passive(proxy.passive_health))
    if proxy.active_health is not None and (active := _build_active(proxy.active_health)):
        cluster.active_health.CopyFrom(active)
    if transport.tls is not None:
        _set_tls(cluster, transport.tls, proxy)
    plain = proxy == ReverseProxy(
        proxy.upstreams,
        trusted_proxies=proxy.trusted_proxies,
        request_headers=proxy.request_headers,
        response_headers=proxy.response_headers,
        rewrite=proxy.rewrite,
        flush_interval_ms=proxy.flush_interval_ms,
    )
    readable = cluster.endpoints[:NAME_LENGTH_MAX] + ("…" if len(cluster.endpoints) > NAME_LENGTH_MAX else "")
    if plain and readable == cluster.endpoints:
        cluster.name = readable
    else:
        digest = hashlib.sha256(cluster.SerializeToString(deterministic=True)).hexdigest()
        cluster.name = f"{readable}#{digest[:12]}"
    return cluster


def _keepalive_ms(written_ms: int) -> int:
    if written_ms == NO_KEEPALIVE_MS:
        return KEEPALIVE_OFF_MS
    return fit(written_ms) if written_ms >= 0 else U32_MAX


def _refuse_unsupported(proxy: ReverseProxy, span: Span) -> None:
    transport, tls = proxy.transport, proxy.transport.tls
    automated = tls is not None and bool(tls.client_certificate_automate)
    refused = {
        "network_proxy": transport.network_proxy[:1] == ("url",),
        "local_address": bool(transport.local_address),
        "tls_client_auth by an automated certificate": automated,
    }
    found = [name for name, present in refused.items() if present]
    if found:
        raise DiagnosticError(
            Diagnostic(Code.ZS0110, f"{name} of reverse_proxy is not supported", span, help="remove it")
            for name in found
        )


def _set_resilience(cluster: pb.Cluster, resilience: Resilience) -> None:
    cluster.slow_start_ms = fit(resilience.slow_start_ms)
    cluster.retry_budget_percent = fit(resilience.retry_budget_percent)
    cluster.hedge_after_ms = fit(resilience.hedge_after_ms)
    cluster.hedge_budget_percent = fit(resilience.hedge_budget_percent)
    cluster.requests_max = fit(resilience.requests_max)
    cluster.queue_max = fit(resilience.queue_max)
    cluster.queue_timeout_ms = fit(resilience.queue_timeout_ms)
    if resilience.mirrors and cluster.request_buffer_bytes == 0:
        cluster.request_buffer_bytes = MIRRORED_BODY_BYTES_MAX
    if resilience.outliers is not None:
        cluster.outliers.failures = fit(resilience.outliers.failures)
        cluster.outliers.ejection_ms = fit(resilience.outliers.duration_ms)
        cluster.outliers.share_max_percent = fit(resilience.outliers.share_percent)


def _set_selection(cluster: pb.Cluster, policy: SelectionPolicy) -> None:
    cluster.balancing = _BALANCING[policy.selection]
    if policy != SelectionPolicy(policy.selection) or policy.selection is Selection.COOKIE:
        cluster.selection.CopyFrom(_build_selection(policy))


def _build_selection(policy: SelectionPolicy) -> pb.Selection:
    selection = pb.Selection(
        balancing=_BALANCING[policy.selection],
        choose=fit(policy.choose),
        weights=map(fit, policy.weights),
        key=policy.key or (COOKIE_NAME if policy.selection is Selection.COOKIE else ""),
        secret=policy.secret.encode(),
        max_age_ms=fit(policy.max_age_ms),
    )
    if policy.fallback is not None:
        selection.fallback.CopyFrom(_build_selection(policy.fallback))
    return selection


def _build_passive(health: PassiveHealth) -> pb.PassiveHealth:
    counted = health.fail_duration_ms > 0
    return pb.PassiveHealth(
        fail_duration_ms=fit(health.fail_duration_ms),
        fails_max=fit(max(health.max_fails, 1)) if counted else 0,
        requests_max=fit(health.request_count),
        statuses=map(fit, health.status),
        latency_ms=fit(health.latency_ms),
    )


def _build_active(health: ActiveHealth) -> pb.ActiveHealth | None:
    """Return the probes, None where nothing switches them on (Caddy: URI, path or port; ours: protocol)."""
    if not (health.uri or health.path or health.port or health.protocol):
        return None
    return pb.ActiveHealth(
        protocol=pb.ActiveHealth.Protocol.Value(health.protocol.upper() or "HTTP"),
        uri=health.uri or health.path or "/",
        upstream=health.upstream,
        port=fit(health.port),
        method=health.method or "GET",
        body=health.body,
        headers=[pb.KeyValue(key=key, values=values) for key, values in health.headers],
        follow_redirects=health.follow_redirects,
        interval_ms=fit(health.interval_ms) or 30_000,
        timeout_ms=fit(health.timeout_ms) or 5_000,
        passes=fit(health.passes) or 1,
        fails=fit(health.fails) or 1,
        status=fit(health.status),
        body_regexp=health.body_regexp,
    )


def _set_tls(cluster: pb.Cluster, tls: UpstreamTls, proxy: ReverseProxy) -> None:
    cluster.tls.server_name = tls.server_name
    cluster.tls.http2 = "2" in proxy.transport.versions
    cluster.tls.insecure_skip_verify = tls.insecure_skip_verify
    cluster.tls.trusted_ca.extend(_read_der(tls.trusted_ca_pem))
    if tls.trust_pool is not None:
        cluster.tls.trusted_ca.extend(base64.b64decode(one) for one in tls.trust_pool.certificates)
    cluster.tls.client_chain.extend(_read_der(tls.client_certificate_pem))
    cluster.tls.client_key = next(iter(_read_der(tls.client_key_pem, "[A-Z ]*PRIVATE KEY")), b"")
    cluster.handshake_timeout_ms = fit(tls.handshake_timeout_ms)
    cluster.plain_ports.extend(fit(int(port)) for port in tls.except_ports if port.isdecimal())
    # A Service is asked for the host that the client named, as an ingress controller does.
    cluster.upstream_host = not any(upstream.service for upstream in proxy.upstreams)


def _read_der(pem: str, label: str = "CERTIFICATE") -> list[bytes]:
    pattern = rf"-----BEGIN (?:{label})-----(.*?)-----END (?:{label})-----"
    return [base64.b64decode(block) for block in re.findall(pattern, pem, re.DOTALL)]
