"""`cache`, `fault` and `bandwidth` to JSON and back. Durations are nanoseconds, as in all of Caddy's JSON.

In: handlers of the tree, or an object without its `handler`. Called by `encoding` and `decoding_requests`.
"""

from __future__ import annotations

from typing import Any

from zeroserve_ir.tree_traffic import CacheTime, InjectFault, KeepAnswers, LimitBandwidth, LimitConcurrency

Json = dict[str, Any]
_MS = 1_000_000


def encode_cache(handler: KeepAnswers) -> Json:
    """Encode `cache`; what is as it is by default is left out."""
    times = [
        {"ttl": time.ttl_ms * _MS, **({"statuses": list(time.statuses)} if time.statuses else {})}
        for time in handler.times
    ]
    encoded: Json = {
        "times": times,
        "stale": handler.stale_ms * _MS,
        "key": handler.key,
        "max_size": handler.body_bytes_max,
        "purge": list(handler.purgers),
    }
    return {key: value for key, value in encoded.items() if value}


def decode_cache(found: Json) -> KeepAnswers:
    """Decode `cache`."""
    return KeepAnswers(
        tuple(
            CacheTime(time["ttl"] // _MS, tuple(time.get("statuses", ()))) for time in found.get("times", ())
        ),
        found.get("stale", 0) // _MS,
        found.get("key", ""),
        found.get("max_size", 0),
        tuple(found.get("purge", ())),
    )


def encode_fault(handler: InjectFault) -> Json:
    """Encode `fault`; shares are of a million."""
    encoded: Json = {}
    if handler.delays_in_million:
        encoded["delay"] = {"duration": handler.delay_ms * _MS, "in_million": handler.delays_in_million}
    if handler.aborts_in_million:
        encoded["abort"] = {"status": handler.abort_status, "in_million": handler.aborts_in_million}
    return encoded


def decode_fault(found: Json) -> InjectFault:
    """Decode `fault`."""
    delay, abort = found.get("delay", {}), found.get("abort", {})
    return InjectFault(
        delay.get("duration", 0) // _MS,
        delay.get("in_million", 0),
        abort.get("status", 0),
        abort.get("in_million", 0),
    )


def encode_concurrency(handler: LimitConcurrency) -> Json:
    """Encode `concurrency`."""
    return {"max": handler.requests_max, "key": handler.key}


def decode_concurrency(found: Json) -> LimitConcurrency:
    """Decode `concurrency`."""
    return LimitConcurrency(found["max"], found["key"])


def encode_bandwidth(handler: LimitBandwidth) -> Json:
    """Encode `bandwidth`."""
    return {"limit": handler.bytes_per_second, **({"free": handler.free_bytes} if handler.free_bytes else {})}


def decode_bandwidth(found: Json) -> LimitBandwidth:
    """Decode `bandwidth`."""
    return LimitBandwidth(found["limit"], found.get("free", 0))
