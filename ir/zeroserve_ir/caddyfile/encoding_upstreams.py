"""`reverse_proxy` as the object of Caddy's JSON, but for headers, rewrite and matchers.

In: the tree's upstream types. Out: plain dicts; empty values are left in for the caller to prune. Called by
`encoding`. Durations are nanoseconds there, or absent where 0.
"""

from __future__ import annotations

from typing import Any

from zeroserve_ir.tree import (
    ActiveHealth,
    HttpTransport,
    PassiveHealth,
    Resilience,
    Selection,
    SelectionPolicy,
    SourceKind,
    UpstreamSource,
    UpstreamTls,
)
from zeroserve_ir.tree_upstreams import NO_KEEPALIVE_MS

Json = dict[str, Any]


def prune(value: Json) -> Json:
    """Leave out what Go's `omitempty` leaves out."""
    return {key: one for key, one in value.items() if one not in ("", 0, None, [], {}) or one is True}


def nanoseconds(milliseconds: int) -> int:
    """Return a duration as Go encodes it; -1 stays what it is."""
    return milliseconds * 1_000_000 if milliseconds != -1 else milliseconds


def encode_policy(policy: SelectionPolicy | None) -> Json:
    """Encode a selection policy with its fallback."""
    if policy is None:
        return {}
    names = {Selection.QUERY: "key", Selection.HEADER: "field", Selection.COOKIE: "name"}
    return prune(
        {
            "policy": policy.selection.value,
            "choose": policy.choose,
            "weights": list(policy.weights),
            names.get(policy.selection, "key"): policy.key,
            "secret": policy.secret,
            "max_age": nanoseconds(policy.max_age_ms),
            "fallback": encode_policy(policy.fallback),
        }
    )


def encode_health(active: ActiveHealth | None, passive: PassiveHealth | None) -> Json:
    """Encode both kinds of health checks."""
    encoded: Json = {}
    if active is not None:
        headers: dict[str, list[str]] = {}
        for name, values in active.headers:
            headers.setdefault(name, []).extend(values)
        encoded["active"] = prune(
            {
                "uri": active.uri,
                "path": active.path,
                "upstream": active.upstream,
                "port": active.port,
                "method": active.method,
                "body": active.body,
                "headers": headers,
                "follow_redirects": active.follow_redirects,
                "interval": nanoseconds(active.interval_ms),
                "timeout": nanoseconds(active.timeout_ms),
                "passes": active.passes,
                "fails": active.fails,
                "expect_status": active.status,
                "expect_body": active.body_regexp,
                "protocol": active.protocol,
            }
        )
    if passive is not None:
        encoded["passive"] = prune(
            {
                "fail_duration": nanoseconds(passive.fail_duration_ms),
                "max_fails": passive.max_fails,
                "unhealthy_request_count": passive.request_count,
                "unhealthy_status": list(passive.status),
                "unhealthy_latency": nanoseconds(passive.latency_ms),
            }
        )
    return encoded


def encode_resilience(resilience: Resilience) -> Json:
    """Encode what is ours, below a key of its own: `zeroserve`."""
    outliers = resilience.outliers
    return prune(
        {
            "slow_start": nanoseconds(resilience.slow_start_ms),
            "retry_budget_percent": resilience.retry_budget_percent,
            "hedge": prune(
                {
                    "after": nanoseconds(resilience.hedge_after_ms),
                    "budget_percent": resilience.hedge_budget_percent,
                }
            ),
            "max_requests": resilience.requests_max,
            "queue": prune(
                {"max": resilience.queue_max, "timeout": nanoseconds(resilience.queue_timeout_ms)}
            ),
            "outlier_ejection": outliers
            and {
                "failures": outliers.failures,
                "duration": nanoseconds(outliers.duration_ms),
                "share_percent": outliers.share_percent,
            },
            "mirrors": [
                prune({"dial": mirror.upstream.dial, "scheme": mirror.scheme, "percent": mirror.percent})
                for mirror in resilience.mirrors
            ],
        }
    )


def encode_source(source: UpstreamSource | None) -> Json:
    """Encode dynamic upstreams."""
    if source is None:
        return {}
    if source.kind is SourceKind.MULTI:
        return prune({"source": "multi", "sources": [encode_source(one) for one in source.sources]})
    encoded = prune(
        {
            "source": source.kind.value,
            "name": source.name,
            "port": source.port,
            "service": source.service,
            "proto": source.proto,
            "refresh": nanoseconds(source.refresh_ms),
            "dial_timeout": nanoseconds(source.dial_timeout_ms),
            "dial_fallback_delay": nanoseconds(source.dial_fallback_delay_ms),
            "grace_period": nanoseconds(source.grace_period_ms),
            "versions": dict.fromkeys(source.versions, True),
        }
    )
    return encoded | _encode_resolvers(source.resolvers)


def _encode_resolvers(resolvers: tuple[str, ...]) -> Json:
    return {"resolver": {"addresses": list(resolvers)}} if resolvers else {}


def encode_transport(transport: HttpTransport) -> Json:
    """Encode `transport http`; the default is nothing."""
    if transport == HttpTransport():
        return {}
    proxy = dict(zip(("from", "url"), transport.network_proxy, strict=False))
    encoded = prune(
        {
            "protocol": "http",
            "keep_alive": _encode_keepalive(transport),
            "dial_timeout": nanoseconds(transport.dial_timeout_ms),
            "dial_fallback_delay": nanoseconds(transport.dial_fallback_delay_ms),
            "response_header_timeout": nanoseconds(transport.response_header_timeout_ms),
            "expect_continue_timeout": nanoseconds(transport.expect_continue_timeout_ms),
            "read_timeout": nanoseconds(transport.read_timeout_ms),
            "write_timeout": nanoseconds(transport.write_timeout_ms),
            "max_conns_per_host": transport.connections_per_host_max,
            "max_response_header_size": transport.response_header_bytes_max,
            "read_buffer_size": transport.read_buffer_bytes,
            "write_buffer_size": transport.write_buffer_bytes,
            "proxy_protocol": transport.proxy_protocol,
            "network_proxy": proxy,
            "local_address": transport.local_address,
            "versions": list(transport.versions),
        }
    )
    if transport.compression_off:
        encoded["compression"] = False
    if transport.tls is not None:
        encoded["tls"] = _encode_tls(transport.tls)
    return encoded | _encode_resolvers(transport.resolvers)


def _encode_keepalive(transport: HttpTransport) -> Json:
    is_off = transport.keepalive_ms == NO_KEEPALIVE_MS
    encoded = prune(
        {
            "idle_timeout": nanoseconds(0 if is_off else transport.keepalive_ms),
            "probe_interval": nanoseconds(transport.keepalive_interval_ms),
            "max_idle_conns": transport.idle_connections_max,
            "max_idle_conns_per_host": transport.idle_connections_per_host_max,
        }
    )
    return encoded | ({"enabled": False} if is_off else {})


def _encode_tls(tls: UpstreamTls) -> Json:
    pool = tls.trust_pool
    authority = pool and prune(
        {
            "provider": pool.provider,
            "pem_files": list(pool.files),
            "trusted_ca_certs": list(pool.certificates),
        }
    )
    return prune(
        {
            "ca": authority,
            "root_ca_pem_files": list(tls.trusted_ca_files),
            "client_certificate_file": tls.client_certificate_file,
            "client_certificate_key_file": tls.client_key_file,
            "client_certificate_automate": tls.client_certificate_automate,
            "insecure_skip_verify": tls.insecure_skip_verify,
            "handshake_timeout": nanoseconds(tls.handshake_timeout_ms),
            "server_name": tls.server_name,
            "renegotiation": tls.renegotiation,
            "except_ports": list(tls.except_ports),
            "curves": list(tls.curves),
        }
    )
