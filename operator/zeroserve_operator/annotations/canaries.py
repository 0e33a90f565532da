"""Canaries: an Ingress whose Services get some requests of another one's (`canary*`).

In: the annotations of an Ingress. Out: its `CanaryRule`, or none. Sources: ingress-nginx,
annotations/canary/main.go; lua/balancer.lua, route_to_alternative_balancer: header, then cookie, then weight.
"""

from __future__ import annotations

import re

from zeroserve_ir.model import CanaryRule
from zeroserve_ir.regular_expressions import PatternError, check_pattern

from zeroserve_operator.annotations.values import TRUE, Annotations

_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_VALUE = re.compile(r"[^\x00-\x1f]{1,1024}")
WEIGHT_TOTAL = 100


def read_canary(annotations: Annotations) -> CanaryRule | None:
    """Read what is asked about requests; without any rule no request goes there."""
    if annotations.text("canary") not in TRUE:
        return None
    total = annotations.number("canary-weight-total") or WEIGHT_TOTAL
    return CanaryRule(
        header=annotations.matching("canary-by-header", _NAME, ""),
        header_value=annotations.matching("canary-by-header-value", _VALUE, ""),
        header_pattern=_read_pattern(annotations),
        cookie=annotations.matching("canary-by-cookie", _NAME, ""),
        weight=min(annotations.number("canary-weight"), total),
        weight_total=total,
    )


def _read_pattern(annotations: Annotations) -> str:
    text = annotations.matching("canary-by-header-pattern", _VALUE, "")
    try:
        check_pattern(text)
    except PatternError as error:
        annotations.warn(
            "canary-by-header-pattern", f"is `{text}`, no regular expression: {error}; no request matches it"
        )
        # As in ingress-nginx; `never` and `always` mean nothing where there is a pattern.
        return r"\A\z." if text else ""
    return text
