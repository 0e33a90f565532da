"""ZeroserveRoute (zeroserve.dev/v1alpha1): hosts with a Caddyfile site body.

In: raw objects, which the CRD's schema has judged on a cluster but not in a manifest. Out: `ZeroserveRoute`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zeroserve_ir.diagnostics import Diagnostic

from zeroserve_operator.resources.objects import Kind, Meta, ObjectKey, Parsed, read_meta
from zeroserve_operator.resources.reading import Reader, digest_raw

CADDYFILE_BYTES_MAX = 256 << 10
"""As `maxLength` of the CRD: room for some thousand routes."""
HOSTS_MAX = 64


@dataclass(frozen=True, slots=True)
class ZeroserveRoute:
    """A ZeroserveRoute, as far as it is read."""

    meta: Meta
    class_name: str | None
    hosts: tuple[str, ...]
    secret: str
    """`spec.tls.secretName`, "" for the default certificate."""
    tls: bool
    caddyfile: str


def parse_zeroserve_route(key: ObjectKey, raw: Mapping[str, Any]) -> Parsed[ZeroserveRoute]:
    """Parse a ZeroserveRoute; without hosts or Caddyfile there is nothing to serve."""
    findings: list[Diagnostic] = []
    reader = Reader(raw, key.origin, findings)
    spec = reader.child("spec")
    hosts, caddyfile = spec.texts("hosts"), spec.required("caddyfile")
    if not 0 < len(hosts) <= HOSTS_MAX:
        spec.complain("hosts", f"must name 1 to {HOSTS_MAX} hosts, not {len(hosts)}")
    if len(caddyfile.encode()) > CADDYFILE_BYTES_MAX:
        spec.complain(
            "caddyfile", f"must have at most {CADDYFILE_BYTES_MAX} bytes, not {len(caddyfile.encode())}"
        )
        caddyfile = ""
    tls = spec.child("tls")
    view = ZeroserveRoute(
        meta=read_meta(
            Kind.ZEROSERVE_ROUTE,
            reader,
            digest_raw(reader.child("metadata").raw.get("creationTimestamp"), raw.get("spec")),
        ),
        class_name=spec.text("ingressClassName") or None,
        hosts=hosts[:HOSTS_MAX],
        secret=tls.text("secretName"),
        tls=tls.present,
        caddyfile=caddyfile,
    )
    return Parsed(view if hosts and caddyfile else None, tuple(findings))
