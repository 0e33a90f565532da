"""Caddy's JSON of upstreams, their health and transport, and of `encode`, as values of the tree.

The inverse of `encoding_upstreams` and `encoding_encode`. Called by
`decoding_handlers`, which carries what does not encode to the same object again.
"""

from __future__ import annotations

from typing import Any

from zeroserve_ir.caddyfile.encoding_upstreams import nanoseconds
from zeroserve_ir.caddyfile.meaning.reading import parse_duration_ns, round_to_ms
from zeroserve_ir.tree_carried import Json
from zeroserve_ir.tree_encode import Encode, Encoder, ResponseMatcher
from zeroserve_ir.tree_fastcgi import FastCgi
from zeroserve_ir.tree_templates import Templates
from zeroserve_ir.tree_upstreams import (
    NO_KEEPALIVE_MS,
    NO_RESILIENCE,
    ActiveHealth,
    HttpTransport,
    Mirror,
    OutlierEjection,
    PassiveHealth,
    Resilience,
    Selection,
    SelectionPolicy,
    SourceKind,
    TrustPool,
    Upstream,
    UpstreamSource,
    UpstreamTls,
)


def milliseconds(value: Any) -> int:
    """Return nanoseconds of JSON, or None, as milliseconds; -1 stays what it is."""
    return round_to_ms(int(value or 0))


def _take(found: Json, names: dict[str, str]) -> dict[str, Any]:
    """Return arguments by their names in the tree; lists become tuples, durations milliseconds."""
    taken: dict[str, Any] = {}
    for name, key in names.items():
        if key in found:
            value = found[key]
            value = tuple(value) if isinstance(value, list) else value
            taken[name] = milliseconds(value) if name.endswith("_ms") else value
    return taken


def decode_policy(found: Json | None) -> SelectionPolicy | None:
    """Decode a selection policy with its fallback."""
    if not found:
        return None
    names = {"choose": "choose", "weights": "weights", "secret": "secret", "max_age_ms": "max_age"}
    key = next((found[name] for name in ("key", "field", "name") if name in found), "")
    fallback = decode_policy(found.get("fallback"))
    return SelectionPolicy(Selection(found["policy"]), key=key, fallback=fallback, **_take(found, names))


_ACTIVE = {
    **{name: name for name in ("uri", "path", "upstream", "port", "method", "body", "follow_redirects")},
    **{name: name for name in ("passes", "fails")},
    "interval_ms": "interval",
    "timeout_ms": "timeout",
    "status": "expect_status",
    "body_regexp": "expect_body",
    "protocol": "protocol",
}
_PASSIVE = {
    "fail_duration_ms": "fail_duration",
    "max_fails": "max_fails",
    "request_count": "unhealthy_request_count",
    "status": "unhealthy_status",
    "latency_ms": "unhealthy_latency",
}


def decode_active_health(found: Json | None) -> ActiveHealth | None:
    """Decode probes."""
    if found is None:
        return None
    headers = tuple((name, tuple(values)) for name, values in found.get("headers", {}).items())
    return ActiveHealth(headers=headers, **_take(found, _ACTIVE))


def decode_passive_health(found: Json | None) -> PassiveHealth | None:
    """Decode what answers tell."""
    return None if found is None else PassiveHealth(**_take(found, _PASSIVE))


def decode_resilience(found: Json | None) -> Resilience:
    """Decode what is ours."""
    if not found:
        return NO_RESILIENCE
    queue, outliers = found.get("queue", {}), found.get("outlier_ejection")
    hedge = found.get("hedge", {})
    return Resilience(
        slow_start_ms=milliseconds(found.get("slow_start")),
        retry_budget_percent=found.get("retry_budget_percent", 0),
        hedge_after_ms=milliseconds(hedge.get("after")),
        hedge_budget_percent=hedge.get("budget_percent", 0),
        requests_max=found.get("max_requests", 0),
        queue_max=queue.get("max", 0),
        queue_timeout_ms=milliseconds(queue.get("timeout")),
        outliers=outliers
        and OutlierEjection(
            outliers["failures"], milliseconds(outliers["duration"]), outliers["share_percent"]
        ),
        mirrors=tuple(
            Mirror(Upstream(one["dial"]), one.get("scheme", ""), one["percent"])
            for one in found.get("mirrors", ())
        ),
    )


_SOURCE = {
    **{name: name for name in ("name", "port", "service", "proto")},
    **{f"{name}_ms": name for name in ("refresh", "dial_timeout", "dial_fallback_delay", "grace_period")},
}


def decode_source(found: Json | None) -> UpstreamSource | None:
    """Decode dynamic upstreams."""
    if not found:
        return None
    sources = tuple(one for one in map(decode_source, found.get("sources", ())) if one is not None)
    return UpstreamSource(
        SourceKind(found["source"]),
        resolvers=tuple(found.get("resolver", {}).get("addresses", ())),
        versions=tuple(found.get("versions", ())),
        sources=sources,
        **_take(found, _SOURCE),
    )


_FASTCGI_TIMEOUTS = {
    "dial_timeout_ms": "dial_timeout",
    "read_timeout_ms": "read_timeout",
    "write_timeout_ms": "write_timeout",
}
_TRANSPORT = {
    "dial_timeout_ms": "dial_timeout",
    "dial_fallback_delay_ms": "dial_fallback_delay",
    "response_header_timeout_ms": "response_header_timeout",
    "expect_continue_timeout_ms": "expect_continue_timeout",
    "read_timeout_ms": "read_timeout",
    "write_timeout_ms": "write_timeout",
    "connections_per_host_max": "max_conns_per_host",
    "response_header_bytes_max": "max_response_header_size",
    "read_buffer_bytes": "read_buffer_size",
    "write_buffer_bytes": "write_buffer_size",
    "proxy_protocol": "proxy_protocol",
    "local_address": "local_address",
    "versions": "versions",
}
_KEEPALIVE = {
    "keepalive_ms": "idle_timeout",
    "keepalive_interval_ms": "probe_interval",
    "idle_connections_max": "max_idle_conns",
    "idle_connections_per_host_max": "max_idle_conns_per_host",
}
_TLS = {
    "trusted_ca_files": "root_ca_pem_files",
    "client_certificate_file": "client_certificate_file",
    "client_key_file": "client_certificate_key_file",
    "client_certificate_automate": "client_certificate_automate",
    "insecure_skip_verify": "insecure_skip_verify",
    "handshake_timeout_ms": "handshake_timeout",
    "server_name": "server_name",
    "renegotiation": "renegotiation",
    "except_ports": "except_ports",
    "curves": "curves",
}


def decode_transport(found: Json) -> HttpTransport:
    """Decode `transport http`; of `transport fastcgi`, the timeouts."""
    if found.get("protocol") == "fastcgi":
        return HttpTransport(keepalive_ms=NO_KEEPALIVE_MS, **_take(found, _FASTCGI_TIMEOUTS))
    keepalive = found.get("keep_alive", {})
    arguments = _take(found, _TRANSPORT) | _take(keepalive, _KEEPALIVE)
    if keepalive.get("enabled") is False:
        arguments["keepalive_ms"] = NO_KEEPALIVE_MS
    proxy = found.get("network_proxy", {})
    return HttpTransport(
        tls=_decode_tls(found["tls"]) if "tls" in found else None,
        compression_off=found.get("compression") is False,
        network_proxy=tuple(proxy[key] for key in ("from", "url") if key in proxy),
        resolvers=tuple(found.get("resolver", {}).get("addresses", ())),
        **arguments,
    )


def decode_fastcgi(found: Json) -> FastCgi | None:
    """Decode `transport fastcgi`; None for another transport."""
    if found.get("protocol") != "fastcgi":
        return None
    return FastCgi(
        root=found.get("root", ""),
        split=tuple(found.get("split_path", ())),
        environment=tuple(found.get("env", {}).items()),
        resolve_root_symlink=found.get("resolve_root_symlink", False),
        capture_stderr=found.get("capture_stderr", False),
    )


def _decode_tls(found: Json) -> UpstreamTls:
    pool = found.get("ca")
    return UpstreamTls(trust_pool=_decode_pool(pool) if pool else None, **_take(found, _TLS))


def _decode_pool(found: Json) -> TrustPool:
    files, certificates = found.get("pem_files", ()), found.get("trusted_ca_certs", ())
    return TrustPool(found["provider"], tuple(files), tuple(certificates))


# Content codings


def decode_response_matcher(found: Json | None) -> ResponseMatcher | None:
    """Decode a matcher of answers."""
    if found is None:
        return None
    fields = found.get("headers")
    statuses = tuple(found["status_code"]) if "status_code" in found else None
    if fields is None:
        return ResponseMatcher(statuses)
    pairs = ((name, None if values is None else tuple(values)) for name, values in fields.items())
    return ResponseMatcher(statuses, tuple(pairs))


def decode_encode(found: Json) -> Encode:
    """Decode `encode`."""
    encodings = found["encodings"]
    encoders = tuple(
        Encoder(name, str(encodings[name].get("level", "")), encodings[name].get("checksum", True))
        for name in found.get("prefer") or encodings
    )
    return Encode(encoders, found.get("minimum_length", 0), decode_response_matcher(found.get("match")))


def decode_templates(found: Json) -> Templates:
    """Decode `templates`."""
    mime_types, delimiters = found.get("mime_types", ()), found.get("delimiters", ())
    return Templates(tuple(mime_types), tuple(delimiters), found.get("file_root", ""))


_TIMES = {
    "flush_interval",
    "stream_timeout",
    "stream_close_delay",
    "try_duration",
    "try_interval",
    "slow_start",
    "after",
    "duration",
}
_TABLES = (_ACTIVE, _PASSIVE, _SOURCE, _TRANSPORT, _KEEPALIVE, _TLS)
_DURATIONS = _TIMES | {key for table in _TABLES for name, key in table.items() if name.endswith("_ms")}
_OTHERS = frozenset({"env", "handle_response", "headers", "rewrite"})
"""What names in them mean is not said by `reverse_proxy`."""


def settle_durations(found: Json) -> Json:
    """Return settings of `reverse_proxy` whose durations are as the tree has them.

    Caddy's JSON has them in nanoseconds or as text such as "5s" (caddy.Duration). ValueError for other text.
    """
    settled = dict(found)
    for key, value in found.items():
        if isinstance(value, dict) and key not in _OTHERS:
            settled[key] = settle_durations(value)
        elif key == "sources" and isinstance(value, list):
            settled[key] = [settle_durations(one) for one in value]
        elif key in _DURATIONS:
            length_ns = parse_duration_ns(value) if isinstance(value, str) else value
            settled[key] = nanoseconds(round_to_ms(length_ns))
    return settled
