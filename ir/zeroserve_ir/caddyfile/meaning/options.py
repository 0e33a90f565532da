"""Global options: the block without address at the top of a Caddyfile (httpcaddyfile/options.go)."""

from __future__ import annotations

from dataclasses import replace

from zeroserve_ir.caddyfile.meaning.matchers import read_ranges
from zeroserve_ir.caddyfile.meaning.profiles import ROWS, Kind, check
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    duration_ms,
    no_arguments,
    only_argument,
    port,
    refusal,
    some_arguments,
    wrong_count,
)
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree import DEFAULT_OPTIONS, Options


def read_options(segments: tuple[Segment, ...], reading: Reading) -> Options:
    """Return the options; `order` changes the reading's table."""
    options = DEFAULT_OPTIONS
    for segment in segments:
        with reading.collect():
            if check(reading, Kind.OPTION, segment.name.text, segment.name):
                options = _read_option(options, segment, reading)
    return options


def _read_option(options: Options, segment: Segment, reading: Reading) -> Options:
    match segment.name.text:
        case "debug":
            no_arguments(segment)
            return replace(options, debug=True)
        case "http_port":
            return replace(options, http_port=port(only_argument(segment, "http_port PORT")))
        case "https_port":
            return replace(options, https_port=port(only_argument(segment, "https_port PORT")))
        case "grace_period":
            return replace(
                options, grace_period_ms=duration_ms(only_argument(segment, "grace_period DURATION"))
            )
        case "admin":
            return _read_admin(options, segment, reading)
        case "auto_https":
            return _read_auto_https(options, segment, reading)
        case "order":
            _read_order(segment, reading)
            return options
        case "log":
            if segment.block or segment.arguments:
                reading.warn(
                    Code.ZS0110, "loggers are not configurable yet", segment.name, "remove the block"
                )
            return options
        case _:
            return _read_servers(options, segment, reading)


def _read_admin(options: Options, segment: Segment, reading: Reading) -> Options:
    if len(segment.arguments) > 1:
        raise wrong_count(segment, "admin off, or admin ADDRESS")
    for inner in segment.block or ():
        if inner.name.text not in ("enforce_origin", "origins"):
            raise refusal(Code.ZS0109, f"unknown {inner.name.text!r} of admin", inner.name, "remove it")
        reading.warn(Code.ZS0110, f"{inner.name.text} of admin is not supported yet", inner.name, "remove it")
    return replace(options, admin=segment.arguments[0].text) if segment.arguments else options


def _read_auto_https(options: Options, segment: Segment, reading: Reading) -> Options:
    for mode in some_arguments(segment, "auto_https off"):
        match mode.text:
            case "off":
                options = replace(options, auto_https=False)
            case "disable_redirects":
                options = replace(options, redirects=False)
            case "disable_certs" | "ignore_loaded_certs":
                reading.warn(Code.ZS0110, f"auto_https {mode.text} has no effect yet", mode, "remove it")
            case _:
                cure = "write off, disable_redirects, disable_certs or ignore_loaded_certs"
                raise refusal(Code.ZS0103, f"unknown mode {mode.text!r} of auto_https", mode, cure)
    return options


def _read_order(segment: Segment, reading: Reading) -> None:
    usage = "order DIRECTIVE first|last, or order DIRECTIVE before|after OTHER"
    if len(segment.arguments) not in (2, 3):
        raise wrong_count(segment, usage)
    directive, position, *other = segment.arguments
    if (Kind.DIRECTIVE, directive.text) not in ROWS:
        raise refusal(Code.ZS0101, f"unknown directive {directive.text}", directive, "check the spelling")
    order = [name for name in reading.order if name != directive.text]
    match position.text, len(other):
        case "first", 0:
            order.insert(0, directive.text)
        case "last", 0:
            order.append(directive.text)
        case "before" | "after", 1:
            if other[0].text not in order:
                raise refusal(Code.ZS0101, f"{other[0].text} has no place in the order", other[0], usage)
            order.insert(order.index(other[0].text) + (position.text == "after"), directive.text)
        case _:
            raise wrong_count(segment, usage)
    reading.order[:] = order


def _read_servers(options: Options, segment: Segment, reading: Reading) -> Options:
    if len(segment.arguments) > 1:
        raise wrong_count(segment, "servers [LISTENER] { … }")
    if segment.arguments:
        reading.warn(
            Code.ZS0110, "options of single listeners hold for all yet", segment.arguments[0], "leave it out"
        )
    for inner in segment.block or ():
        with reading.collect():
            if not check(reading, Kind.SUBDIRECTIVE, inner.name.text, inner.name, "servers"):
                continue
            if len(inner.arguments) < 2 or inner.arguments[0].text != "static":
                raise wrong_count(inner, "trusted_proxies static RANGE …")
            options = replace(options, trusted_proxies=read_ranges(inner.arguments[1:]))
    return options
