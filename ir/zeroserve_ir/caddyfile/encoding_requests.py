"""Expressions, `vars_regexp`, `map`, log fields and traces as the objects of Caddy's JSON.

In: values of `zeroserve_ir.tree_requests`. Out: plain dicts and texts. Called by `encoding`.
"""

from __future__ import annotations

import json
import re
from typing import Any

from zeroserve_ir.tree_requests import (
    AppendLog,
    AttachPlugin,
    CallPlugin,
    LimitRate,
    Mapping,
    MapValues,
    MatchExpression,
    MatchVarsRegexp,
    NameLoggers,
    StoreDown,
    Trace,
)

Json = dict[str, Any]


def literal(text: str) -> Any:
    """Return the JSON value of an unquoted number or boolean."""
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    if text in ("true", "false"):
        return text == "true"
    return float(text)


def encode_expression(matcher: MatchExpression) -> Any:
    """Encode an expression: the text alone where it has no name."""
    if not matcher.name:
        return matcher.expression
    return {"expr": matcher.expression, "name": matcher.name}


def encode_vars_regexp(matcher: MatchVarsRegexp) -> Json:
    """Encode a pattern under its variable."""
    pattern = {"name": matcher.name} if matcher.name else {}
    return {matcher.subject: {**pattern, "pattern": matcher.pattern}}


def encode_map(handler: MapValues) -> Json:
    """Encode a map without its module's name."""
    encoded: Json = {
        "source": handler.source,
        "destinations": list(handler.destinations),
        "mappings": [_encode_mapping(mapping) for mapping in handler.mappings],
        "defaults": list(handler.defaults),
    }
    return {key: value for key, value in encoded.items() if value}


def _encode_mapping(mapping: Mapping) -> Json:
    outputs = [
        literal(output) if output is not None and index in mapping.literals else output
        for index, output in enumerate(mapping.outputs)
    ]
    key = "input_regexp" if mapping.regexp else "input"
    return {**({key: mapping.input} if mapping.input else {}), "outputs": outputs}


def encode_log_field(handler: AppendLog) -> Json:
    """Encode a field of the access log line."""
    encoded: Json = {"key": handler.key, "value": handler.value, "early": handler.early}
    return {key: value for key, value in encoded.items() if value}


def encode_loggers(handler: NameLoggers) -> Json:
    """Encode the loggers' names, a variable to Caddy."""
    return {"access_logger_names": list(handler.names) or None}


def encode_rates(handler: LimitRate) -> Json:
    """Encode zones as the module caddy-ratelimit names them; windows are nanoseconds."""
    zones = {
        zone.name: {
            "key": zone.key,
            "max_events": zone.events,
            "window": zone.window_ms * 1_000_000,
            **({"burst": zone.burst} if zone.burst else {}),
            **({"shared": True} if zone.shared else {}),
        }
        for zone in handler.zones
    }
    store_down = handler.store_down
    return {
        "rate_limits": zones,
        **({} if store_down is StoreDown.LOCAL else {"store_down": store_down.value}),
    }


def encode_call(handler: CallPlugin) -> Json:
    """Encode a call of a plugin's function."""
    call: Json = {"plugin": handler.plugin, "function": handler.function}
    config = json.loads(handler.config)
    return {**call, "config": config} if config else call


def encode_attachment(handler: AttachPlugin) -> Json:
    """Encode an attached plugin."""
    config = json.loads(handler.config)
    return {"plugin": handler.plugin, **({"config": config} if config else {})}


def encode_trace(handler: Trace) -> Json:
    """Encode a trace."""
    attributes = {"span_attributes": dict(handler.attributes)} if handler.attributes else {}
    return {"span": handler.span, **attributes}
