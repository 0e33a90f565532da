"""`rate_limit`, ours: zones of events in a window for each key, in the words of caddy-ratelimit.

In: the segment without its matcher. Out: the handler. `rate 10/s` and `burst 20` are short for events, window
and what may come at once. `shared` (or caddy-ratelimit's `distributed`, for all zones) counts with all nodes.
"""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

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
from zeroserve_ir.program.fitting import U32_MAX
from zeroserve_ir.tree import LimitRate, RateZone
from zeroserve_ir.tree_requests import StoreDown

_RATE = re.compile(r"(\d{1,9})(?:r?/(s|m|h))?")
_WINDOWS = {"s": 1000, "m": 60_000, "h": 3_600_000}
_CLIENT = "{http.vars.client_ip}"
STORE_PARAMETERS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_server_name")
"""Of a store's address; the first three are files."""


def read_rate_limit(segment: Segment, reading: Reading) -> LimitRate:
    """`rate_limit { zone NAME { key KEY; events N; window DURATION; … } … }`; no key is the client."""
    if segment.arguments or not segment.block:
        raise wrong_count(segment, "rate_limit [MATCHER] { zone NAME { events N; window DURATION } }")
    zones: dict[str, RateZone] = {}
    store_down, distributed = StoreDown.LOCAL, False
    for inner in segment.block:
        match inner.name.text:
            case "zone":
                if len(inner.arguments) != 1:
                    raise wrong_count(inner, "zone NAME { … }")
                name = inner.arguments[0]
                if name.text in zones:
                    raise refusal(Code.ZS0105, f"zone {name.text} stands twice", name, "rename one of them")
                zones[name.text] = _read_zone(inner, name.text)
            case "store_down":
                store_down = _read_store_down(inner)
            case "distributed":
                distributed = True
                _read_distributed(inner, reading)
            case other:
                message = f"unknown subdirective {other} of rate_limit"
                raise refusal(Code.ZS0109, message, inner.name, "write zone NAME { … }")
    found = zones.values()
    return LimitRate(
        tuple(replace(zone, shared=True) for zone in found) if distributed else tuple(found), store_down
    )


def read_rate_limit_store(segment: Segment, _: Reading) -> str:
    """`rate_limit_store redis://[USER:PASSWORD@]HOST[:PORT][/NUMBER]`, `rediss` with TLS; a global option."""
    token = only_argument(segment, "rate_limit_store redis://HOST:PORT")
    if reason := judge_store(token.text):
        cure = "write for example redis://10.0.0.5:6379/0"
        raise refusal(Code.ZS0103, f"the store's address {reason}", token, cure)
    return token.text


def judge_store(address: str) -> str:
    """Say what is wrong with a store's address, "" if nothing is; the address itself is a secret."""
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError as error:
        return f"is no URL: {error}"
    if parts.scheme not in ("redis", "rediss"):
        return "begins with neither redis:// nor rediss://"
    if not parts.hostname:
        return "has no host"
    if not re.fullmatch(r"/?\d{0,4}", parts.path) or parts.fragment:
        return "names no database by its number"
    return _judge_parameters(parts.scheme, parts.query) if parts.query else ""


def _judge_parameters(scheme: str, query: str) -> str:
    """As `judge_store`: what follows the question mark, for TLS alone."""
    if scheme != "rediss":
        return "has parameters, which belong to rediss://"
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        return "has parameters that are none"
    found = dict(pairs)
    if not found.keys() <= set(STORE_PARAMETERS):
        return f"has other parameters than {', '.join(STORE_PARAMETERS)}"
    if len(found) < len(pairs) or not all(found.values()):
        return "has an empty parameter, or one of them twice"
    if ("ssl_certfile" in found) != ("ssl_keyfile" in found):
        return "names one of ssl_certfile and ssl_keyfile alone"
    return ""


def _read_store_down(segment: Segment) -> StoreDown:
    token = only_argument(segment, "store_down local|open|closed")
    try:
        return StoreDown(token.text)
    except ValueError:
        message = f"store_down cannot be {token.text!r}"
        raise refusal(Code.ZS0103, message, token, "write local, open or closed") from None


def _read_distributed(segment: Segment, reading: Reading) -> None:
    for line in segment.block or ():
        if line.name.text not in ("read_interval", "write_interval", "purge_age"):
            message = f"unknown subdirective {line.name.text} of distributed"
            raise refusal(Code.ZS0109, message, line.name, "remove it")
        message = f"{line.name.text} of distributed has no effect: tokens are leased as they are needed"
        reading.warn(Code.ZS0110, message, line.name, "remove it")


def _read_zone(segment: Segment, name: str) -> RateZone:
    key, events, window_ms, burst, shared = _CLIENT, 0, 0, 0, False
    for line in segment.block or ():
        if line.name.text == "shared" and not line.arguments:
            shared = True
            continue
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
                cure = "write key, events, window, rate, burst or shared; a matcher chooses requests"
                raise refusal(Code.ZS0109, message, line.name, cure)
    if not events or not window_ms:
        cure = "write events and window, or rate"
        raise refusal(Code.ZS0102, f"zone {name} has no rate", segment.name, cure)
    return RateZone(name, key, events, window_ms, burst, shared)


def _read_rate(token: Token) -> tuple[int, int]:
    found = _RATE.fullmatch(token.text)
    if found is None:
        raise refusal(Code.ZS0103, f"{token.text!r} is no rate", token, "write for example 10/s or 100/m")
    return _positive(int(found[1]), token), _WINDOWS[found[2] or "s"]


def _positive(number: int, token: Token) -> int:
    if not 0 < number <= U32_MAX:
        raise refusal(Code.ZS0103, f"{token.text!r} is out of range", token, f"write 1 to {U32_MAX}")
    return number
