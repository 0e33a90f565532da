"""Expressions, `vars_regexp`, `map`, log fields and traces as lines of a Caddyfile.

In: values of `zeroserve_ir.tree_requests`. Out: words and lines. Called by `printer_handlers`.
"""

from __future__ import annotations

import json
from typing import Any

from zeroserve_ir.caddyfile.printer_words import UnprintableError, block, line, word
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

Words = tuple[str, tuple[str, ...], tuple[str, ...] | None]
"""A directive's name, its words, the lines of its block."""


def expression_line(matcher: MatchExpression) -> str:
    """Return the line of an expression; one quoted word takes the matcher's name, several do not."""
    if matcher.name:
        return line("expression", word(matcher.expression, quoted=True))
    # Caddy joins the words of the line again: two make it leave out the name.
    return f"expression {matcher.expression}"


def vars_regexp_line(matcher: MatchVarsRegexp) -> str:
    """Return the line of a pattern on a variable."""
    name = word(matcher.name) if matcher.name else ""
    return line("vars_regexp", name, word(matcher.subject), word(matcher.pattern, quoted=True))


def _config_lines(config: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, value in config.items():
        plain = isinstance(value, list) and len(value) > 1
        for one in value if plain else [value]:
            match one:
                case str():
                    lines.append(line(word(name), word(one, quoted=True)))
                case True:
                    lines.append(word(name))
                case dict():
                    lines += block(word(name), _config_lines(one))
                case list() if len(one) > 1 and all(isinstance(item, str) for item in one):
                    lines.append(line(word(name), *(word(item, quoted=True) for item in one)))
                case _:
                    raise UnprintableError(f"no Caddyfile says {name}: {json.dumps(one)}")
    return lines


def print_request_handler(
    handler: CallPlugin | AttachPlugin | LimitRate | MapValues | AppendLog | NameLoggers | Trace,
) -> Words:
    """Return the directive of a handler."""
    match handler:
        case MapValues(source, destinations, mappings, defaults):
            lines = [_mapping_line(mapping) for mapping in mappings]
            if defaults:
                lines.append(line("default", *(word(one, quoted=True) for one in defaults)))
            return "map", (word(source, quoted=True), *map(word, destinations)), tuple(lines)
        case AppendLog(key, value, early):
            return "log_append", (word("<" + key if early else key), word(value, quoted=True)), None
        case NameLoggers(names):
            return "log_name", tuple(map(word, names)), None
        case CallPlugin(plugin, function, config):
            lines = _config_lines(json.loads(config))
            return "zeroserve_call", (word(plugin), word(function)), tuple(lines) or None
        case AttachPlugin(plugin, config):
            return "zeroserve_plugin", (word(plugin),), tuple(_config_lines(json.loads(config))) or None
        case LimitRate(zones, store_down):
            rates = [
                one
                for zone in zones
                for one in block(
                    line("zone", word(zone.name)),
                    [
                        f"key {word(zone.key, quoted=True)}",
                        f"events {zone.events}",
                        f"window {zone.window_ms}ms",
                        *([f"burst {zone.burst}"] if zone.burst else []),
                        *(["shared"] if zone.shared else []),
                    ],
                )
            ]
            rates += [f"store_down {store_down.value}"] if store_down is not StoreDown.LOCAL else []
            return "rate_limit", (), tuple(rates)
        case Trace(span, attributes):
            lines = [f"span {word(span, quoted=True)}"] if span else []
            pairs = [line(word(name), word(value, quoted=True)) for name, value in attributes]
            lines += block("span_attributes", pairs) if pairs else []
            return "tracing", (), tuple(lines) or None


def _mapping_line(mapping: Mapping) -> str:
    outputs = [
        "-" if output is None else output if index in mapping.literals else word(output, quoted=True)
        for index, output in enumerate(mapping.outputs)
    ]
    return line(word(("~" if mapping.regexp else "") + mapping.input, quoted=True), *outputs)
