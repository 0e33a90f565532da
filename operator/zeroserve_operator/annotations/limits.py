"""Limits: how much of a Service one client may use (`limit-*`).

In: the annotations of an Ingress. Out: `TrafficLimits`, or none. Source: ingress-nginx,
annotations/ratelimit/main.go. Wrong values limit nothing, wrong exemptions exempt nobody.
"""

from __future__ import annotations

import ipaddress

from zeroserve_ir.model import TrafficLimits

from zeroserve_operator.annotations.values import Annotations
from zeroserve_operator.resources.objects import Meta

BURST_FACTOR = 5
_KIB = 1 << 10


def read_limits(annotations: Annotations, meta: Meta) -> TrafficLimits | None:
    """Read `limit-rps`, `limit-rpm`, `limit-connections`, `limit-rate` and what goes with them."""
    limits = TrafficLimits(
        owner=f"{meta.key.namespace}/{meta.key.name}",
        per_second=annotations.number("limit-rps"),
        per_minute=annotations.number("limit-rpm"),
        burst_factor=annotations.number("limit-burst-multiplier") or BURST_FACTOR,
        connections=annotations.number("limit-connections"),
        exempt=_read_exempt(annotations),
        bytes_per_second=annotations.number("limit-rate") * _KIB,
        free_bytes=annotations.number("limit-rate-after") * _KIB,
    )
    return limits if limits.is_effective else None


def _read_exempt(annotations: Annotations) -> tuple[str, ...]:
    """`limit-allowlist`; `limit-whitelist` is its name of old, which counts where the other is not there."""
    name = "limit-allowlist" if annotations.has("limit-allowlist") else "limit-whitelist"
    found = set()
    for item in annotations.text(name).split(","):
        try:
            if item.strip():
                found.add(str(ipaddress.ip_network(item.strip(), strict=False)))
        except ValueError:
            annotations.warn(name, f"holds `{item.strip()}`, which is no IP or CIDR and exempts nobody")
    return tuple(sorted(found))
