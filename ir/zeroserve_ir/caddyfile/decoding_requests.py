"""Caddy's JSON of maps, logs, traces, expressions and files as values of the tree.

The inverse of `encoding_requests` and `encoding_files`; called by `decoding_handlers`, which carries
what does not encode to the same object again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from zeroserve_ir.caddyfile import encoding_traffic as traffic
from zeroserve_ir.tree import (
    AppendLog,
    AttachPlugin,
    CallPlugin,
    Handler,
    LimitRate,
    Mapping,
    MapValues,
    Matcher,
    MatchExpression,
    MatchVarsRegexp,
    NameLoggers,
    RateZone,
    Trace,
)
from zeroserve_ir.tree_carried import Json
from zeroserve_ir.tree_files import Browse, BrowseOrder, FileServer, MatchFile, TryPolicy
from zeroserve_ir.tree_requests import StoreDown


def spell(value: Any) -> str:
    """Return a JSON scalar as a Caddyfile writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def decode_file_server(found: Json) -> FileServer:
    """Decode a file server."""
    browse = found.get("browse")
    status = found.get("status_code", "")
    return FileServer(
        root=found.get("root", ""),
        hide=tuple(found.get("hide", ())),
        index=tuple(found.get("index_names", ())),
        browse=None
        if browse is None
        else Browse(
            browse.get("template_file", ""),
            browse.get("reveal_symlinks", False),
            tuple(BrowseOrder(one) for one in browse.get("sort", ())),
            browse.get("file_limit", 0),
        ),
        precompressed=tuple(found.get("precompressed_order", ())),
        status=str(status),
        canonical_uris=found.get("canonical_uris", True),
        pass_thru=found.get("pass_thru", False),
        etag_extensions=tuple(found.get("etag_file_extensions", ())),
    )


def _decode_mapping(found: Json) -> Mapping:
    outputs = found["outputs"]
    return Mapping(
        str(found.get("input_regexp") or found.get("input", "")),
        tuple(None if one is None else spell(one) for one in outputs),
        "input_regexp" in found,
        tuple(index for index, one in enumerate(outputs) if isinstance(one, bool | int | float)),
    )


def _decode_map(found: Json) -> MapValues:
    return MapValues(
        found.get("source", ""),
        tuple(found.get("destinations", ())),
        tuple(_decode_mapping(one) for one in found.get("mappings", ())),
        tuple(found.get("defaults", ())),
    )


def _decode_log_field(found: Json) -> AppendLog:
    return AppendLog(found.get("key", ""), found.get("value", ""), found.get("early", False))


def _decode_call(found: Json) -> CallPlugin:
    config = json.dumps(found.get("config", {}), ensure_ascii=False, separators=(",", ":"))
    return CallPlugin(found["plugin"], found["function"], config)


def _decode_attachment(found: Json) -> AttachPlugin:
    config = json.dumps(found.get("config", {}), ensure_ascii=False, separators=(",", ":"))
    return AttachPlugin(found["plugin"], config)


def _decode_trace(found: Json) -> Trace:
    return Trace(found.get("span", ""), tuple(found.get("span_attributes", {}).items()))


def _decode_rates(found: Json) -> LimitRate:
    zones = (
        RateZone(
            name,
            one["key"],
            one["max_events"],
            one["window"] // 1_000_000,
            one.get("burst", 0),
            one.get("shared", False),
        )
        for name, one in found["rate_limits"].items()
    )
    return LimitRate(tuple(zones), StoreDown(found.get("store_down", "local")))


def decode_loggers(found: Json) -> NameLoggers:
    """Decode the variable that names loggers."""
    return NameLoggers(tuple(found["access_logger_names"] or ()))


def _decode_file(found: Json) -> tuple[Matcher, ...]:
    policy = TryPolicy(found.get("try_policy", ""))
    split = tuple(found.get("split_path", ()))
    return (MatchFile(tuple(found.get("try_files", ())), found.get("root", ""), policy, split),)


def _decode_expression(found: Any) -> tuple[Matcher, ...]:
    if isinstance(found, str):
        return (MatchExpression(found),)
    return (MatchExpression(found["expr"], found.get("name", "")),)


def _decode_patterns(found: Json) -> tuple[Matcher, ...]:
    return tuple(MatchVarsRegexp(name, one["pattern"], one.get("name", "")) for name, one in found.items())


REQUEST_MATCHERS: dict[str, Callable[[Any], tuple[Matcher, ...]]] = {
    "expression": _decode_expression,
    "file": _decode_file,
    "vars_regexp": _decode_patterns,
}
REQUEST_HANDLERS: dict[str, Callable[[Json], Handler]] = {
    "bandwidth": traffic.decode_bandwidth,
    "cache": traffic.decode_cache,
    "concurrency": traffic.decode_concurrency,
    "fault": traffic.decode_fault,
    "file_server": decode_file_server,
    "log_append": _decode_log_field,
    "map": _decode_map,
    "rate_limit": _decode_rates,
    "tracing": _decode_trace,
    "zeroserve_call": _decode_call,
    "zeroserve_plugin": _decode_attachment,
}
