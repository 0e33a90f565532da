"""The block of `reverse_proxy` as lines, but for headers, rewrite and matchers.

In: the tree's upstream types. Out: lines that Caddy reads back as the same. Called by `printer_handlers`.
"""

from __future__ import annotations

from zeroserve_ir.caddyfile.printer_words import block, line, word
from zeroserve_ir.tree import (
    ActiveHealth,
    HttpTransport,
    PassiveHealth,
    Resilience,
    SelectionPolicy,
    SourceKind,
    UpstreamSource,
    UpstreamTls,
)
from zeroserve_ir.tree_upstreams import NO_KEEPALIVE_MS


def print_duration(milliseconds: int) -> str:
    """Return a duration in whole seconds or milliseconds."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{milliseconds}ms" if rest else f"{seconds}s"


def print_policy(policy: SelectionPolicy | None, name: str = "lb_policy") -> list[str]:
    """Return the lines of a selection policy."""
    if policy is None:
        return []
    words = [policy.selection.value]
    words += [str(policy.choose)] if policy.choose else []
    words += [str(weight) for weight in policy.weights]
    words += [word(one) for one in (policy.key, policy.secret) if one]
    lines = [f"max_age {print_duration(policy.max_age_ms)}"] if policy.max_age_ms else []
    lines += print_policy(policy.fallback, "fallback")
    head = line(name, *words)
    return block(head, lines) if lines else [head]


def print_active(health: ActiveHealth | None) -> list[str]:
    """Return the `health_*` lines."""
    if health is None:
        return []
    texts = {
        "health_uri": health.uri,
        "health_path": health.path,
        "health_upstream": health.upstream,
        "health_method": health.method,
        "health_request_body": health.body,
        "health_body": health.body_regexp,
        "health_protocol": health.protocol,
    }
    lines = [line(name, word(text)) for name, text in texts.items() if text]
    numbers = {
        "health_port": health.port,
        "health_passes": health.passes,
        "health_fails": health.fails,
        "health_status": _print_status(health.status),
    }
    lines += [f"{name} {number}" for name, number in numbers.items() if number]
    lines += _durations({"health_interval": health.interval_ms, "health_timeout": health.timeout_ms})
    lines += ["health_follow_redirects"] if health.follow_redirects else []
    headers = [line(word(name), *(word(one) for one in values)) for name, values in health.headers]
    return lines + (block("health_headers", headers) if headers else [])


def print_passive(health: PassiveHealth | None) -> list[str]:
    """Return the lines of passive health."""
    if health is None:
        return []
    lines = _durations({"fail_duration": health.fail_duration_ms, "unhealthy_latency": health.latency_ms})
    lines += [f"max_fails {health.max_fails}"] if health.max_fails else []
    lines += [f"unhealthy_request_count {health.request_count}"] if health.request_count else []
    lines += [line("unhealthy_status", *map(_print_status, health.status))] if health.status else []
    return lines


def print_resilience(resilience: Resilience) -> list[str]:
    """Return the lines that are ours."""
    lines = _durations({"slow_start": resilience.slow_start_ms})
    if resilience.retry_budget_percent:
        lines.append(f"retry_budget {resilience.retry_budget_percent}%")
    if resilience.hedge_after_ms:
        share = [f"{resilience.hedge_budget_percent}%"] if resilience.hedge_budget_percent else []
        lines.append(line("hedge", print_duration(resilience.hedge_after_ms), *share))
    if resilience.requests_max:
        lines.append(f"max_requests {resilience.requests_max}")
    if resilience.queue_max:
        lines.append(f"queue {resilience.queue_max} {print_duration(resilience.queue_timeout_ms)}")
    if (outliers := resilience.outliers) is not None:
        duration = print_duration(outliers.duration_ms)
        lines.append(f"outlier_ejection {outliers.failures} {duration} {outliers.share_percent}%")
    for mirror in resilience.mirrors:
        prefix = f"{mirror.scheme}://" if mirror.scheme else ""
        lines.append(line("mirror", word(prefix + mirror.upstream.dial), f"{mirror.percent}%"))
    return lines


def _print_status(status: int) -> str:
    return f"{status}xx" if 0 < status < 10 else str(status or "")


def print_source(source: UpstreamSource | None, name: str = "dynamic") -> list[str]:
    """Return the lines of dynamic upstreams."""
    if source is None:
        return []
    head = line(name, source.kind.value) if name else source.kind.value
    if source.kind is SourceKind.MULTI:
        return block(head, [one for inner in source.sources for one in print_source(inner, "")])
    texts = {"name": source.name, "port": source.port, "service": source.service, "proto": source.proto}
    lines = [line(key, word(text)) for key, text in texts.items() if text]
    lines += _durations(
        {
            "refresh": source.refresh_ms,
            "dial_timeout": source.dial_timeout_ms,
            "dial_fallback_delay": source.dial_fallback_delay_ms,
            "grace_period": source.grace_period_ms,
        }
    )
    lines += [line("resolvers", *map(word, source.resolvers))] if source.resolvers else []
    lines += [line("versions", *source.versions)] if source.versions else []
    return block(head, lines)


def _durations(values: dict[str, int]) -> list[str]:
    return [f"{name} {print_duration(value)}" for name, value in values.items() if value]


def print_transport(transport: HttpTransport) -> list[str]:
    """Return the block of `transport http`; nothing for the default."""
    if transport == HttpTransport():
        return []
    is_off = transport.keepalive_ms == NO_KEEPALIVE_MS
    lines = _print_tls(transport.tls) if transport.tls is not None else []
    lines += _durations(
        {
            "dial_timeout": transport.dial_timeout_ms,
            "dial_fallback_delay": transport.dial_fallback_delay_ms,
            "response_header_timeout": transport.response_header_timeout_ms,
            "expect_continue_timeout": transport.expect_continue_timeout_ms,
            "read_timeout": transport.read_timeout_ms,
            "write_timeout": transport.write_timeout_ms,
            "keepalive": 0 if is_off else transport.keepalive_ms,
            "keepalive_interval": transport.keepalive_interval_ms,
        }
    )
    lines += ["keepalive off"] if is_off else []
    numbers = {
        "keepalive_idle_conns": transport.idle_connections_max,
        "keepalive_idle_conns_per_host": transport.idle_connections_per_host_max,
        "max_conns_per_host": transport.connections_per_host_max,
        "read_buffer": transport.read_buffer_bytes,
        "write_buffer": transport.write_buffer_bytes,
        "max_response_header": transport.response_header_bytes_max,
    }
    lines += [f"{name} {number}" for name, number in numbers.items() if number]
    lines += ["compression off"] if transport.compression_off else []
    words = {
        "proxy_protocol": (transport.proxy_protocol,) if transport.proxy_protocol else (),
        "network_proxy": transport.network_proxy,
        "resolvers": transport.resolvers,
        "local_address": (transport.local_address,) if transport.local_address else (),
        "versions": transport.versions,
    }
    lines += [line(name, *map(word, values)) for name, values in words.items() if values]
    return block("transport http", lines)


def _print_tls(tls: UpstreamTls) -> list[str]:
    lines = ["# CA certificates: from the cluster"] if tls.trusted_ca_pem and not tls.trusted_ca_files else []
    if tls.client_certificate_pem and not tls.client_certificate_file:
        lines.append("# Certificate for upstreams that ask: from the cluster")
    lines.append("tls")
    lines += ["tls_insecure_skip_verify"] if tls.insecure_skip_verify else []
    client: tuple[str, ...] = (tls.client_certificate_automate,) if tls.client_certificate_automate else ()
    if tls.client_certificate_file:
        client = (tls.client_certificate_file, tls.client_key_file)
    words = {
        "tls_server_name": (tls.server_name,) if tls.server_name else (),
        "tls_trusted_ca_certs": tls.trusted_ca_files,
        "tls_client_auth": client,
        "tls_renegotiation": (tls.renegotiation,) if tls.renegotiation else (),
        "tls_except_ports": tls.except_ports,
        "tls_curves": tls.curves,
    }
    lines += [line(name, *map(word, values)) for name, values in words.items() if values]
    lines += _durations({"tls_timeout": tls.handshake_timeout_ms})
    if tls.trust_pool is not None:
        option, values = "pem_file", tls.trust_pool.files
        if tls.trust_pool.certificates:
            option, values = "trust_der", tls.trust_pool.certificates
        options = [line(option, *map(word, values))] if values else []
        lines += block(f"tls_trust_pool {tls.trust_pool.provider}", options)
    return lines
