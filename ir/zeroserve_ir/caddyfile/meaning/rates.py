"""`rate_limit`, ours: zones of events in a window for each key, in the words of caddy-ratelimit.

In: the segment without its matcher. Out: the handler. `rate 10/s` and `burst 20` are short for events, window
and what may come at once.
"""

from __future__ import annotations

import re

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    duration_ms,
    integer,
    only_argument,
    refusal,
    wrong_count,
)
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree import LimitRate, RateZone

NUMBER_MAX = (1 << 32) - 1
_RATE = re.compile(r"(\d{1,9})(?:r?/(s|m|h))?")
_WINDOWS = {"s": 1000, "m": 60_000, "h": 3_600_000}
_CLIENT = "{http.vars.client_ip}"


def read_rate_limit(segment: Segment, _: Reading) -> LimitRate:
    """`rate_limit { zone NAME { key KEY; events N; window DURATION; burst N } … }`; key: the client."""
    if segment.arguments or not segment.block:
        raise wrong_count(segment, "rate_limit [MATCHER] { zone NAME { events N; window DURATION } }")
    zones: dict[str, RateZone] = {}
    for inner in segment.block:
        if inner.name.text != "zone":
            message = f"unknown subdirective {inner.name.text} of rate_limit"
            raise refusal(Code.ZS0109, message, inner.name, "write zone NAME { … }")
        if len(inner.arguments) != 1:
            raise wrong_count(inner, "zone NAME { … }")
        name = inner.arguments[0]
        if name.text in zones:
            raise refusal(Code.ZS0105, f"zone {name.text} stands twice", name, "rename one of them")
        zones[name.text] = _read_zone(inner, name.text)
    return LimitRate(tuple(zones.values()))


def _read_zone(segment: Segment, name: str) -> RateZone:
    key, events, window_ms, burst = _CLIENT, 0, 0, 0
    for line in segment.block or ():
        value = only_argument(line, f"{line.name.text} VALUE")
        match line.name.text:
            case "key":
                key = value.text
            case "events":
                events = _positive(integer(value), value)
            case "window":
                window_ms = _positive(duration_ms(value), value)
            case "burst":
                burst = _positive(integer(value), value)
            case "rate":
                events, window_ms = _read_rate(value)
            case other:
                message = f"unknown subdirective {other} of zone"
                cure = (
                    "write key, events, window, rate or burst; requests are chosen by the directive's matcher"
                )
                raise refusal(Code.ZS0109, message, line.name, cure)
    if not events or not window_ms:
        cure = "write events and window, or rate"
        raise refusal(Code.ZS0102, f"zone {name} has no rate", segment.name, cure)
    return RateZone(name, key, events, window_ms, burst)


def _read_rate(token: Token) -> tuple[int, int]:
    found = _RATE.fullmatch(token.text)
    if found is None:
        raise refusal(Code.ZS0103, f"{token.text!r} is no rate", token, "write for example 10/s or 100/m")
    return _positive(int(found[1]), token), _WINDOWS[found[2] or "s"]


def _positive(number: int, token: Token) -> int:
    if not 0 < number <= NUMBER_MAX:
        raise refusal(Code.ZS0103, f"{token.text!r} is out of range", token, f"write 1 to {NUMBER_MAX}")
    return number
