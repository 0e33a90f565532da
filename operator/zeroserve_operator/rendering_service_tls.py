"""Rendering: TLS towards Services.

In: `model.ServiceTls`, or none where nothing was asked for. Out: the TLS of `transport http`. A private key
is in memory alone: what is printed of the tree has none.
"""

from __future__ import annotations

import base64

from zeroserve_ir import tree
from zeroserve_ir.model import ServiceTls


def render_service_tls(asked: ServiceTls | None) -> tree.UpstreamTls:
    """Return the TLS; a Service is verified where authorities are known, as in ingress-nginx."""
    if asked is None:
        return tree.UpstreamTls(insecure_skip_verify=True)
    certificates = tuple(base64.b64encode(der).decode() for der in asked.authorities)
    return tree.UpstreamTls(
        server_name=asked.name,
        insecure_skip_verify=not certificates,
        trust_pool=tree.TrustPool("inline", certificates=certificates) if certificates else None,
        client_certificate_pem="".join(_write_pem("CERTIFICATE", der) for der in asked.chain),
        client_key_pem=_write_pem("PRIVATE KEY", asked.key) if asked.chain else "",
    )


def _write_pem(label: str, der: bytes) -> str:
    return f"-----BEGIN {label}-----\n{base64.b64encode(der).decode()}\n-----END {label}-----\n"
