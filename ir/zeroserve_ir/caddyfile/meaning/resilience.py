"""Subdirectives of `reverse_proxy` that are ours: overload, ejection, slow start.

In: one line of the block. Out: the resilience value with that line in it. Who calls: `proxying`. What Caddy
has names for keeps them: `unhealthy_request_count` bounds the requests of one upstream.
"""

from __future__ import annotations

from dataclasses import replace

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.reading import (
    Tenancy,
    duration_ms,
    integer,
    only_argument,
    refusal,
    wrong_count,
)
from zeroserve_ir.caddyfile.meaning.upstreams import read_upstream
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree import Mirror, OutlierEjection, Resilience

RESILIENCE = frozenset(
    ("slow_start", "retry_budget", "hedge", "max_requests", "queue", "outlier_ejection", "mirror")
)
QUEUE_TIMEOUT_MS = 1_000
"""Of a queue that says none: a client waits that long without noticing."""
HEDGE_MS_MIN, HEDGE_MS_MAX = 1, 3_600_000


def read_resilience(resilience: Resilience, inner: Segment, tenancy: Tenancy | None) -> Resilience:
    """Read one line."""
    match inner.name.text:
        case "slow_start":
            duration = _time(only_argument(inner, "slow_start DURATION"))
            return replace(resilience, slow_start_ms=duration)
        case "retry_budget":
            share = read_percent(only_argument(inner, "retry_budget PERCENT"))
            return replace(resilience, retry_budget_percent=share)
        case "hedge":
            return _read_hedge(resilience, inner)
        case "max_requests":
            return replace(resilience, requests_max=_count(only_argument(inner, "max_requests NUMBER")))
        case "queue":
            return _read_queue(resilience, inner)
        case "mirror":
            return replace(resilience, mirrors=(*resilience.mirrors, *_read_mirrors(inner, tenancy)))
        case _:
            return replace(resilience, outliers=_read_outliers(inner))


def _read_hedge(resilience: Resilience, inner: Segment) -> Resilience:
    if len(inner.arguments) not in (1, 2):
        raise wrong_count(inner, "hedge DURATION [PERCENT]")
    after, *rest = inner.arguments
    after_ms = duration_ms(after)
    if not HEDGE_MS_MIN <= after_ms <= HEDGE_MS_MAX:
        raise refusal(Code.ZS0103, f"hedge cannot wait {after.text}", after, "write 1ms to 1h")
    share = read_percent(rest[0]) if rest else 0
    return replace(resilience, hedge_after_ms=after_ms, hedge_budget_percent=share)


def _read_queue(resilience: Resilience, inner: Segment) -> Resilience:
    if len(inner.arguments) not in (1, 2):
        raise wrong_count(inner, "queue NUMBER [DURATION]")
    waiting, *rest = inner.arguments
    timeout = _time(rest[0]) if rest else QUEUE_TIMEOUT_MS
    return replace(resilience, queue_max=_count(waiting), queue_timeout_ms=timeout)


def _read_mirrors(inner: Segment, tenancy: Tenancy | None) -> list[Mirror]:
    if len(inner.arguments) not in (1, 2):
        raise wrong_count(inner, "mirror UPSTREAM [PERCENT]")
    address, *rest = inner.arguments
    if "{" in address.text:
        raise refusal(Code.ZS0103, "a mirror has no placeholders", address, "write HOST:PORT")
    scheme, upstreams = read_upstream(address, tenancy)
    share = read_percent(rest[0]) if rest else 100
    return [Mirror(upstream, scheme, share) for upstream in upstreams]


def _read_outliers(inner: Segment) -> OutlierEjection:
    if len(inner.arguments) not in (1, 2, 3):
        raise wrong_count(inner, "outlier_ejection FAILURES [DURATION [PERCENT]]")
    failures, *rest = inner.arguments
    ejection = OutlierEjection(_count(failures))
    if rest:
        ejection = replace(ejection, duration_ms=_time(rest[0]))
    return replace(ejection, share_percent=read_percent(rest[1])) if rest[1:] else ejection


def read_percent(token: Token) -> int:
    """Return 1 to 100, written with or without its sign."""
    text = token.text.removesuffix("%")
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise refusal(Code.ZS0103, f"{token.text!r} is no share", token, "write 1% to 100%")
    return int(text)


def _time(token: Token) -> int:
    duration = duration_ms(token)
    if duration < 0:
        raise refusal(Code.ZS0103, f"{token.text!r} is no time", token, "write for example 30s")
    return duration


def _count(token: Token) -> int:
    number = integer(token)
    if number < 1:
        raise refusal(Code.ZS0103, f"{token.text!r} is too small", token, "write a number from 1 on")
    return number
