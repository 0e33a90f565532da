"""Loggers of Caddy's JSON (`logging.logs`), judged: what is kept has the shape that drafting reads.

In: the object of loggers by name. Out: those of them that can be built, and why the others cannot. Called by
`settling`. Shapes: caddy/logging.go, modules/logging.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zeroserve_ir.tree_carried import Json

OUTPUTS = ("stdout", "stderr", "discard", "file", "net")
FORMATS = ("json", "console", "filter", "append", "journald")
LEVELS = ("debug", "info", "warn", "warning", "error", "panic", "fatal")
_TEXTS = ("message_key", "level_key", "time_key", "name_key", "line_ending", "time_format")
_FILTERS: dict[str, dict[str, type]] = {
    "delete": {},
    "hash": {},
    "replace": {"value": str},
    "rename": {"name": str},
    "ip_mask": {"ipv4_cidr": int, "ipv6_cidr": int},
    "query": {"actions": list},
    "cookie": {"actions": list},
    "set_cookie": {"actions": list},
    "regexp": {"regexp": str, "value": str},
    "multi_regexp": {"operations": list},
}
_ACTIONS = ("replace", "hash", "delete")


def settle_loggers(found: Any) -> tuple[Json, list[tuple[str, str]]]:
    """Return the loggers that can be built, and for each fault its path below `logs` and what is wrong."""
    if not isinstance(found, dict):
        return {}, [("", "is no object")]
    kept: Json = {}
    faults: list[tuple[str, str]] = []
    for name, logger in found.items():
        wrong = [(f".{name}{path}", message) for path, message in _judge_logger(logger)]
        faults += wrong
        if not wrong:
            kept[name] = logger
    return kept, faults


def _judge_logger(logger: Any) -> Iterable[tuple[str, str]]:
    if not isinstance(logger, dict):
        yield "", "is no object"
        return
    for name in ("include", "exclude"):
        if not _is_texts(logger.get(name, [])):
            yield f".{name}", "is no array of strings"
    if str(logger.get("level", "info")).lower() not in LEVELS:
        yield ".level", f"is none of {', '.join(LEVELS)}"
    sampling = logger.get("sampling", {})
    if not isinstance(sampling, dict) or not all(_is_count(one) for one in sampling.values()):
        yield ".sampling", "has other values than counts"
    yield from _judge_writer(logger.get("writer", {}))
    yield from ((f".encoder{path}", message) for path, message in _judge_encoder(logger.get("encoder", {})))


def _judge_writer(writer: Any) -> Iterable[tuple[str, str]]:
    if not isinstance(writer, dict):
        yield ".writer", "is no object"
    elif writer.get("output", "stderr") not in OUTPUTS:
        yield ".writer.output", f"is none of {', '.join(OUTPUTS)}"
    elif writer.get("output") == "file" and not isinstance(writer.get("filename"), str):
        yield ".writer.filename", "is missing"
    elif writer.get("output") == "net" and not isinstance(writer.get("address"), str):
        yield ".writer.address", "is missing"


def _judge_encoder(encoder: Any, depth: int = 0) -> Iterable[tuple[str, str]]:
    if not isinstance(encoder, dict) or depth > len(FORMATS):
        yield "", "is no object, or nested too deeply"
        return
    if encoder.get("format", "json") not in FORMATS:
        yield ".format", f"is none of {', '.join(FORMATS)}"
    for name in (*_TEXTS, "duration_format", "level_format"):
        if not isinstance(encoder.get(name, ""), str):
            yield f".{name}", "is no string"
    if "wrap" in encoder:
        yield from ((f".wrap{path}", message) for path, message in _judge_encoder(encoder["wrap"], depth + 1))
    fields = encoder.get("fields", {})
    if not isinstance(fields, dict):
        yield ".fields", "is no object"
    elif encoder.get("format") == "filter":
        for name, one in fields.items():
            yield from ((f".fields.{name}{path}", message) for path, message in _judge_filter(one))


def _judge_filter(one: Any) -> Iterable[tuple[str, str]]:
    kind = one.get("filter") if isinstance(one, dict) else None
    if kind not in _FILTERS:
        yield "", f"has no filter of {', '.join(_FILTERS)}"
        return
    for name, wanted in _FILTERS[kind].items():
        if not isinstance(one.get(name, wanted()), wanted):
            yield f".{name}", "is of the wrong kind"
            return
    for action in one.get("actions") or ():
        if not isinstance(action, dict) or action.get("type") not in _ACTIONS:
            yield ".actions", f"has another type than {', '.join(_ACTIONS)}"
    for operation in one.get("operations") or ():
        if not isinstance(operation, dict) or not all(isinstance(text, str) for text in operation.values()):
            yield ".operations", "has other values than regexp and value"


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def settle_server_logs(logs: Any) -> tuple[Json, bool]:
    """Return a server's `logs` and whether they have the shape that they should."""
    if not isinstance(logs, dict):
        return {}, False
    names = logs.get("logger_names") or {}
    sound = isinstance(names, dict) and all(isinstance(one, str) or _is_texts(one) for one in names.values())
    sound = sound and _is_texts(logs.get("skip_hosts") or [])
    sound = sound and isinstance(logs.get("default_logger_name", ""), str)
    return ({key: value for key, value in logs.items() if value is not None}, True) if sound else ({}, False)
