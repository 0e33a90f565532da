"""Global options: the block without address at the top of a Caddyfile (httpcaddyfile/options.go).

In: the segments of the block. Out: `Options`: fields for what is acted upon, `others` for the rest, by name
in the shapes of Caddy's JSON (`carried_options` reads those).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from zeroserve_ir.caddyfile.meaning.carried_options import CARRIED_OPTIONS
from zeroserve_ir.caddyfile.meaning.loggers import read_option_log
from zeroserve_ir.caddyfile.meaning.profiles import ROWS, Kind, check
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    duration_ms,
    no_arguments,
    only_argument,
    port,
    refusal,
    refuse_block,
    some_arguments,
    take_value,
    without_empty_block,
    wrong_count,
)
from zeroserve_ir.caddyfile.meaning.server_options import read_servers
from zeroserve_ir.caddyfile.printer_surface import written_form
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree import DEFAULT_OPTIONS, Options
from zeroserve_ir.tree_carried import Carried, Json

_APPENDING = ("cert_issuer", "default_bind", "filesystem", "servers")
"""Options whose further lines add to the earlier ones; of the others the last line holds."""


def read_options(segments: Sequence[Segment], reading: Reading) -> Options:
    """Return the options; `order` changes the reading's table."""
    options = DEFAULT_OPTIONS
    others: Json = {}
    carried: list[Segment] = []
    for segment in segments:
        with reading.collect():
            if not check(reading, Kind.OPTION, segment.name.text, segment.name):
                continue
            before = dict(others)
            options = _read_option(options, others, segment, reading)
            if others != before:
                carried.append(segment)
    if "servers" in others:
        # Longer listeners first: of several that fit a server, the first holds (options.go).
        others["servers"].sort(key=lambda one: -len(one["listener"]))
    if "acme_dns" in others and not others["acme_dns"] and not others.get("dns"):
        _refuse_no_provider(carried, reading)
    if carried:
        options = replace(options, others=Carried.of(others, written_form(carried), carried[0].span))
    return options


def _refuse_no_provider(carried: list[Segment], reading: Reading) -> None:
    for segment in carried:
        if segment.name.text == "acme_dns":
            with reading.collect():
                cure = "write acme_dns PROVIDER, or name it in the global option dns"
                raise refusal(Code.ZS0102, "acme_dns has no DNS provider", segment.name, cure)


def _read_option(options: Options, others: Json, segment: Segment, reading: Reading) -> Options:
    name = segment.name.text
    match name:
        case "debug":
            return replace(options, debug=True)
        case "http_port" | "https_port":
            segment = without_empty_block(segment)
            number = port(only_argument(segment, f"{name} PORT"))
            if number == getattr(DEFAULT_OPTIONS, name):
                others[name] = number
            return _set_port(options, name, number)
        case "grace_period":
            grace = duration_ms(only_argument(take_value(segment, reading), "grace_period DURATION"))
            return replace(options, grace_period_ms=grace)
        case "admin":
            return _read_admin(options, others, segment)
        case "auto_https":
            return _read_auto_https(options, others, segment)
        case "order":
            _read_order(segment, reading)
            return options
        case "log":
            logger = read_option_log(segment, reading, options.loggers)
            return replace(options, loggers=(*options.loggers, logger))
        case "servers":
            return _read_servers(options, others, segment, reading)
        case _:
            value: Any = CARRIED_OPTIONS[name](segment, reading)
            others[name] = [*others.get(name, ()), value] if name in _APPENDING else value
            if name == "plugins":
                spans = ((inner.name.text, inner.span) for inner in segment.block or ())
                options = replace(options, plugin_spans=tuple(spans))
            return options


def _set_port(options: Options, name: str, number: int) -> Options:
    return replace(options, http_port=number) if name == "http_port" else replace(options, https_port=number)


def _read_admin(options: Options, others: Json, segment: Segment) -> Options:
    if len(segment.arguments) > 1:
        raise wrong_count(segment, "admin off, or admin ADDRESS")
    listen = segment.arguments[0].text if segment.arguments else DEFAULT_OPTIONS.admin
    if listen == "off":
        refuse_block(segment)
    found: Json = {"disabled": True} if listen == "off" else {"listen": listen}
    for inner in segment.block or ():
        name = inner.name.text
        if listen == "off" or name not in ("enforce_origin", "origins"):
            raise refusal(Code.ZS0109, f"unknown {name!r} of admin", inner.name, "remove it")
        if name == "enforce_origin":
            no_arguments(inner)
        refuse_block(inner)
        found[name] = True if name == "enforce_origin" else [token.text for token in inner.arguments]
    if len(found) > 1 or listen == DEFAULT_OPTIONS.admin:
        others["admin"] = found
    return replace(options, admin=listen)


def _read_auto_https(options: Options, others: Json, segment: Segment) -> Options:
    for mode in some_arguments(without_empty_block(segment), "auto_https off"):
        match mode.text:
            case "off":
                options = replace(options, auto_https=False)
            case "disable_redirects":
                options = replace(options, redirects=False)
            case "disable_certs" | "ignore_loaded_certs":
                others["auto_https"] = [*others.get("auto_https", ()), mode.text]
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
        check(reading, Kind.DIRECTIVE, directive.text, directive)
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


def _read_servers(options: Options, others: Json, segment: Segment, reading: Reading) -> Options:
    found = read_servers(segment, reading)
    server = found["server"]
    ranges = tuple(server.get("trusted_proxies", {}).get("ranges", ()))
    if not found["listener"]:
        options = replace(options, trusted_proxies=ranges)
    alone = not found["listener"] and "logs" not in found and set(server) <= {"trusted_proxies"} and ranges
    if not alone:
        for one in others.get("servers", ()):
            if one["listener"] == found["listener"]:
                message = (
                    f"servers {found['listener']} stands twice"
                    if found["listener"]
                    else "servers stands twice"
                )
                raise refusal(Code.ZS0103, message, segment.name, "join the two blocks")
            if found.get("name") and one.get("name") == found["name"]:
                raise refusal(
                    Code.ZS0103, f"server {found['name']} is named twice", segment.name, "rename one"
                )
        others["servers"] = [*others.get("servers", ()), found]
    return options
