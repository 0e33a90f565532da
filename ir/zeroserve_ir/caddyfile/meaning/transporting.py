"""`transport http` of `reverse_proxy` (reverseproxy/httptransport.go).

In: one line of its block. Out: the transport with that line in it. Called by `proxying`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    duration_ms,
    integer,
    no_arguments,
    only_argument,
    refusal,
    refuse_block,
    size_bytes,
    some_arguments,
    take_arguments,
    texts,
    wrong_count,
)
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree import HttpTransport, TrustPool, UpstreamTls
from zeroserve_ir.tree_upstreams import NO_KEEPALIVE_MS

_DURATIONS = {
    "dial_timeout": "dial_timeout_ms",
    "dial_fallback_delay": "dial_fallback_delay_ms",
    "response_header_timeout": "response_header_timeout_ms",
    "expect_continue_timeout": "expect_continue_timeout_ms",
    "read_timeout": "read_timeout_ms",
    "write_timeout": "write_timeout_ms",
    "keepalive_interval": "keepalive_interval_ms",
}
_COUNTS = {
    "keepalive_idle_conns": "idle_connections_max",
    "keepalive_idle_conns_per_host": "idle_connections_per_host_max",
    "max_conns_per_host": "connections_per_host_max",
}
_SIZES = {
    "read_buffer": "read_buffer_bytes",
    "write_buffer": "write_buffer_bytes",
    "max_response_header": "response_header_bytes_max",
}


def read_transport_line(transport: HttpTransport, inner: Segment, reading: Reading) -> HttpTransport:
    """Read one line of the block."""
    name = inner.name.text
    readers: tuple[tuple[dict[str, str], Callable[[Token], int]], ...] = (
        (_DURATIONS, duration_ms),
        (_COUNTS, integer),
        (_SIZES, size_bytes),
    )
    for fields, read in readers:
        if name in fields:
            value = read(only_argument(inner, f"{name} VALUE"))
            return replace(transport, **{fields[name]: value})  # type: ignore[arg-type]
    if name == "tls" or name.startswith("tls_"):
        return replace(transport, tls=_read_tls(transport.tls or UpstreamTls(), inner))
    match name:
        case "keepalive":
            token = only_argument(inner, "keepalive DURATION, or keepalive off")
            kept_ms = NO_KEEPALIVE_MS if token.text == "off" else duration_ms(token)
            return replace(transport, keepalive_ms=kept_ms)
        case "versions":
            return replace(transport, versions=_read_versions(inner))
        case "compression":
            off = only_argument(inner, "compression off").text == "off" if inner.arguments else False
            refuse_block(inner)
            return replace(transport, compression_off=transport.compression_off or off)
        case "proxy_protocol":
            token = only_argument(inner, "proxy_protocol v1|v2")
            if token.text not in ("v1", "v2"):
                raise refusal(Code.ZS0103, f"no PROXY protocol {token.text!r}", token, "write v1 or v2")
            return replace(transport, proxy_protocol=token.text)
        case "resolvers":
            return replace(transport, resolvers=texts(some_arguments(inner, "resolvers ADDRESS …")))
        case "local_address":
            return replace(transport, local_address=only_argument(inner, "local_address ADDRESS").text)
        case "forward_proxy_url":
            url = only_argument(inner, "forward_proxy_url URL").text
            return replace(transport, network_proxy=("url", url))
        case _:
            return replace(transport, network_proxy=_read_network_proxy(inner, reading))


def _read_network_proxy(inner: Segment, reading: Reading) -> tuple[str, ...]:
    words = texts(inner.arguments)
    for kind, count in (("none", 1), ("url", 2)):
        if words[:1] == (kind,) and len(words) >= count:
            return texts(take_arguments(inner, count, reading).arguments)
    raise wrong_count(inner, "network_proxy none, or network_proxy url URL")


def _read_versions(inner: Segment) -> tuple[str, ...]:
    versions = some_arguments(inner, "versions 1.1 2 h2c")
    for token in versions:
        if token.text not in ("1.1", "2", "h2c", "3"):
            raise refusal(
                Code.ZS0103, f"unknown version {token.text!r} of HTTP", token, "write 1.1, 2 or h2c"
            )
    return texts(versions)


def _read_tls(tls: UpstreamTls, inner: Segment) -> UpstreamTls:
    name = inner.name.text
    match name:
        case "tls":
            no_arguments(inner)
            return tls
        case "tls_insecure_skip_verify":
            no_arguments(inner)
            return replace(tls, insecure_skip_verify=True)
        case "tls_server_name":
            return replace(tls, server_name=only_argument(inner, "tls_server_name NAME").text)
        case "tls_timeout":
            return replace(
                tls, handshake_timeout_ms=duration_ms(only_argument(inner, "tls_timeout DURATION"))
            )
        case "tls_client_auth":
            return _read_client_auth(tls, inner)
        case "tls_curves":
            return replace(tls, curves=texts(some_arguments(inner, "tls_curves NAME …")))
        case "tls_except_ports":
            return replace(tls, except_ports=texts(some_arguments(inner, "tls_except_ports PORT …")))
        case "tls_renegotiation":
            token = only_argument(inner, "tls_renegotiation never|once|freely")
            if token.text not in ("never", "once", "freely"):
                raise refusal(Code.ZS0103, f"unknown level {token.text!r}", token, "write never")
            return replace(tls, renegotiation=token.text)
        case "tls_trusted_ca_certs":
            _refuse_both(tls.trust_pool is not None, inner)
            files = texts(some_arguments(inner, "tls_trusted_ca_certs FILE …"))
            return replace(tls, trusted_ca_files=files)
        case _:
            _refuse_both(bool(tls.trusted_ca_files) or tls.trust_pool is not None, inner)
            return replace(tls, trust_pool=_read_trust_pool(inner))


def _refuse_both(found: bool, inner: Segment) -> None:
    if found:
        message = "the upstream's authorities are named twice"
        raise refusal(Code.ZS0103, message, inner.name, "keep one of tls_trust_pool and tls_trusted_ca_certs")


def _read_client_auth(tls: UpstreamTls, inner: Segment) -> UpstreamTls:
    refuse_block(inner)
    words = texts(inner.arguments)
    match len(words):
        case 1:
            return replace(tls, client_certificate_automate=words[0])
        case 2:
            return replace(tls, client_certificate_file=words[0], client_key_file=words[1])
        case _:
            raise wrong_count(inner, "tls_client_auth CERTIFICATE KEY")


def _read_trust_pool(inner: Segment) -> TrustPool:
    """`inline { trust_der BASE64 … }` or `file [FILE …] { pem_file FILE … }` (caddytls/capools.go)."""
    if not inner.arguments:
        raise wrong_count(inner, "tls_trust_pool file|inline { … }")
    provider, *rest = inner.arguments
    lines = inner.block or ()
    match provider.text:
        case "system":
            no_arguments(Segment(provider, tuple(rest), inner.block or None))
            return TrustPool("system")
        case "inline":
            option = "trust_der"
        case "file":
            option = "pem_file"
        case _:
            cure = "write tls_trust_pool file, inline or system"
            raise refusal(Code.ZS0110, f"trust pool {provider.text} is not supported", provider, cure)
    values = [] if option == "trust_der" else [token.text for token in rest]
    for line in lines:
        if line.name.text != option:
            message = f"unknown option {line.name.text} of trust pool {provider.text}"
            raise refusal(Code.ZS0109, message, line.name, f"write {option}")
        values += texts(some_arguments(line, f"{option} VALUE …"))
    if not values:
        raise refusal(Code.ZS0102, f"trust pool {provider.text} is empty", provider, f"write {option} VALUE")
    if option == "pem_file":
        return TrustPool("file", files=tuple(values))
    return TrustPool("inline", certificates=tuple(values))
