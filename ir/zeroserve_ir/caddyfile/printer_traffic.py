"""Directives of `cache`, `fault` and `bandwidth`. Called by `printer_handlers`."""

from __future__ import annotations

from decimal import Decimal

from zeroserve_ir.caddyfile.printer_words import line, word
from zeroserve_ir.tree_traffic import InjectFault, KeepAnswers, LimitBandwidth, LimitConcurrency, Shaping

Words = tuple[str, tuple[str, ...], tuple[str, ...] | None]


def print_traffic_handler(handler: Shaping) -> Words:
    """Return the directive of a handler: name, arguments, lines of its block."""
    match handler:
        case KeepAnswers():
            return "cache", (), tuple(_cache_lines(handler)) or None
        case InjectFault(delay_ms, delays, status, aborts):
            lines = [f"delay {delay_ms}ms {_percent(delays)}"] if delays else []
            lines += [f"abort {status} {_percent(aborts)}"] if aborts else []
            return "fault", (), tuple(lines)
        case LimitConcurrency(requests_max, key):
            return "concurrency", (str(requests_max), word(key, quoted=True)), None
        case LimitBandwidth(rate, free):
            return "bandwidth", (str(rate), *((str(free),) if free else ())), None


def _cache_lines(handler: KeepAnswers) -> list[str]:
    lines = [line("ttl", f"{time.ttl_ms}ms", *map(str, time.statuses)) for time in handler.times]
    if handler.stale_ms:
        lines.append(f"stale {handler.stale_ms}ms")
    if handler.key:
        lines.append(line("key", word(handler.key, quoted=True)))
    if handler.body_bytes_max:
        lines.append(f"max_size {handler.body_bytes_max}")
    if handler.purgers:
        lines.append(line("purge", *map(word, handler.purgers)))
    return lines


def _percent(in_million: int) -> str:
    return f"{(Decimal(in_million) / 10_000).normalize():f}%"
