"""`cache`, `fault`, `concurrency` and `bandwidth`, ours.

In: the segment without its matcher. Out: the handler. Words are those that people know: `ttl`, `stale` and
`key` of cache-handler (Souin), `delay` and `abort` of Envoy's fault filter, a rate and what is free of it as
nginx's `limit_rate` and `limit_rate_after`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from ipaddress import ip_network

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.blocks import read_ranges_unchecked
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    duration_ms,
    integer,
    is_status,
    only_argument,
    refusal,
    refuse_block,
    size_bytes,
    wrong_count,
)
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree_traffic import CacheTime, InjectFault, KeepAnswers, LimitBandwidth, LimitConcurrency

_CACHE = "cache [TTL] { ttl DURATION [STATUS…]; stale DURATION; key TEXT; max_size SIZE; purge RANGE… }"
_FAULT = "fault [MATCHER] { delay DURATION [PERCENT]; abort STATUS [PERCENT] }"
_BANDWIDTH = "bandwidth [MATCHER] RATE [FREE_SIZE]"
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)%?")
_MILLION = 1_000_000
_REQUESTS_MAX = 1_000_000
_DELAY_MS_MAX = 600_000
_BYTES_PER_SECOND_MIN = 1024
"""Below, the engine's own deadline for slow answers would end them."""


def read_cache(segment: Segment, reading: Reading) -> KeepAnswers:
    """`cache [TTL] { … }`; without a time only answers that say how long they are fresh are kept."""
    if len(segment.arguments) > 1:
        raise wrong_count(segment, _CACHE)
    times = [CacheTime(_positive_ms(token)) for token in segment.arguments]
    stale_ms, key, body_bytes_max = 0, "", 0
    purgers: tuple[str, ...] = ()
    for inner in segment.block or ():
        refuse_block(inner)
        match inner.name.text:
            case "ttl":
                times.append(_read_time(inner))
            case "stale":
                stale_ms = _positive_ms(only_argument(inner, "stale DURATION"))
            case "key":
                key = only_argument(inner, "key TEXT").text
            case "max_size":
                body_bytes_max = size_bytes(only_argument(inner, "max_size SIZE"))
            case "purge":
                purgers = _read_purgers(inner, reading)
            case other:
                raise _unknown(other, "cache", inner, _CACHE)
    return KeepAnswers(tuple(times), stale_ms, key, body_bytes_max, purgers)


def _read_time(segment: Segment) -> CacheTime:
    if not segment.arguments:
        raise wrong_count(segment, "ttl DURATION [STATUS…]")
    first, *statuses = segment.arguments
    for status in statuses:
        if not is_status(status.text) or not 200 <= int(status.text) <= 599:
            raise refusal(Code.ZS0103, f"{status.text!r} is no status", status, "write 200 to 599")
        if status.text in ("206", "304"):
            raise refusal(Code.ZS0103, f"{status.text} is part of an answer", status, "write another status")
    return CacheTime(_positive_ms(first), tuple(int(status.text) for status in statuses))


def _read_purgers(segment: Segment, reading: Reading) -> tuple[str, ...]:
    if not segment.arguments:
        raise wrong_count(segment, "purge RANGE…")
    ranges = tuple(read_ranges_unchecked(segment, reading))
    for text in ranges:
        try:
            ip_network(text, strict=False)
        except ValueError:
            token = next((one for one in segment.arguments if one.text == text), segment.name)
            cure = "write for example 10.0.0.0/8, 2001:db8::1 or private_ranges"
            raise refusal(Code.ZS0103, f"{text!r} is no range of addresses", token, cure) from None
    return ranges


def read_fault(segment: Segment, _: Reading) -> InjectFault:
    """`fault { delay DURATION [PERCENT]; abort STATUS [PERCENT] }`; a request may meet both."""
    if segment.arguments or not segment.block:
        raise wrong_count(segment, _FAULT)
    delay_ms, delays, status, aborts = 0, 0, 0, 0
    for inner in segment.block:
        refuse_block(inner)
        if not 1 <= len(inner.arguments) <= 2:
            raise wrong_count(inner, _FAULT)
        value = inner.arguments[0]
        share = _read_share(inner.arguments[1]) if len(inner.arguments) > 1 else _MILLION
        match inner.name.text:
            case "delay":
                delay_ms, delays = _positive_ms(value), share
                if delay_ms > _DELAY_MS_MAX:
                    raise refusal(Code.ZS0103, f"{value.text!r} is too long", value, "write 10m at most")
            case "abort":
                if not is_status(value.text) or not 400 <= int(value.text) <= 599:
                    raise refusal(Code.ZS0103, f"{value.text!r} is no error", value, "write 400 to 599")
                status, aborts = int(value.text), share
            case other:
                raise _unknown(other, "fault", inner, _FAULT)
    return InjectFault(delay_ms, delays, status, aborts)


def read_concurrency(segment: Segment, _: Reading) -> LimitConcurrency:
    """`concurrency MAX [KEY]`; the key is the client where none is written."""
    refuse_block(segment)
    if not 1 <= len(segment.arguments) <= 2:
        raise wrong_count(segment, "concurrency [MATCHER] MAX [KEY]")
    number = segment.arguments[0]
    if not 0 < integer(number) <= _REQUESTS_MAX:
        cure = f"write 1 to {_REQUESTS_MAX}"
        raise refusal(Code.ZS0103, f"{number.text!r} is out of range", number, cure)
    key = segment.arguments[1].text if len(segment.arguments) > 1 else "{http.vars.client_ip}"
    return LimitConcurrency(integer(number), key)


def read_bandwidth(segment: Segment, _: Reading) -> LimitBandwidth:
    """`bandwidth RATE [FREE_SIZE]`, or the plugin's `bandwidth { limit RATE }`; bytes a second."""
    rates = list(segment.arguments)
    for inner in segment.block or ():
        if inner.name.text != "limit":
            raise _unknown(inner.name.text, "bandwidth", inner, _BANDWIDTH)
        rates.append(only_argument(inner, "limit RATE"))
    if not 1 <= len(rates) <= 2:
        raise wrong_count(segment, _BANDWIDTH)
    rate = size_bytes(rates[0])
    if rate < _BYTES_PER_SECOND_MIN:
        cure = f"write {_BYTES_PER_SECOND_MIN} bytes a second at least"
        raise refusal(Code.ZS0103, f"{rates[0].text!r} is too slow", rates[0], cure)
    return LimitBandwidth(rate, size_bytes(rates[1]) if len(rates) > 1 else 0)


def _positive_ms(token: Token) -> int:
    milliseconds = duration_ms(token)
    if milliseconds <= 0:
        raise refusal(Code.ZS0103, f"{token.text!r} is no time", token, "write for example 30s or 5m")
    return milliseconds


def _read_share(token: Token) -> int:
    found = _PERCENT.fullmatch(token.text)
    share = int(Decimal(found[1]) * 10_000) if found else 0
    if not 0 < share <= _MILLION:
        raise refusal(Code.ZS0103, f"{token.text!r} is no percentage", token, "write for example 5% or 0.1%")
    return share


def _unknown(name: str, directive: str, segment: Segment, usage: str) -> Exception:
    return refusal(Code.ZS0109, f"unknown subdirective {name} of {directive}", segment.name, f"write {usage}")
