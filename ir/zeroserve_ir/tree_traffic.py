"""Traffic policies of our own in the route tree: `cache`, `fault` and `bandwidth`.

Imported by `tree`, which has the names; JSON is `caddyfile/encoding_traffic`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CacheTime:
    """How long answers are fresh that do not say so themselves."""

    ttl_ms: int
    statuses: tuple[int, ...] = ()
    """None: 200, 301 and 308."""


@dataclass(frozen=True, slots=True)
class KeepAnswers:
    """`cache` (ours): answers of the proxy call behind it are kept and served again (RFC 9111)."""

    times: tuple[CacheTime, ...] = ()
    stale_ms: int = 0
    """How long stale answers serve that do not say so themselves."""
    key: str = ""
    """"" is scheme, host and URI as they go up."""
    body_bytes_max: int = 0
    """0 is the engine's default."""
    purgers: tuple[str, ...] = ()
    """CIDRs of clients whose PURGE is the cache's."""


@dataclass(frozen=True, slots=True)
class InjectFault:
    """`fault` (ours): of a million requests so many wait, and so many end with a status."""

    delay_ms: int = 0
    delays_in_million: int = 0
    abort_status: int = 0
    aborts_in_million: int = 0


@dataclass(frozen=True, slots=True)
class LimitBandwidth:
    """`bandwidth` (ours): how fast an answer's body goes down; JSON as the plugin of that name has it."""

    bytes_per_second: int
    free_bytes: int = 0
    """Bytes that go out at once before the limit holds."""


@dataclass(frozen=True, slots=True)
class LimitConcurrency:
    """`concurrency` (ours): how many requests of a key may be under way; others are answered 429."""

    requests_max: int
    key: str


Shaping = LimitConcurrency | KeepAnswers | InjectFault | LimitBandwidth
