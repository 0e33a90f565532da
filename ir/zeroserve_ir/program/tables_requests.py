"""Rows of what is known of a request: variables, maps, log fields, traces.

In: values of `zeroserve_ir.tree_requests`. Out: rows of the `Tables` message and their index. Called by
lowering, in the order in which it meets them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.program.texts import parse_text, placeholders

LOGGER_NAMES = "access_logger_names"
"""The variable that holds the names of `log_name`, one a line."""


def add_vars_regexp(tables: pb.Tables, matcher: tree.MatchVarsRegexp) -> int:
    """Add a `vars_regexp` matcher; a bare name is a variable."""
    row = tables.regexps.add(pattern=matcher.pattern, name=matcher.name, subject=pb.VARIABLE)
    if is_placeholder(matcher.subject):
        row.text.CopyFrom(parse_text(matcher.subject))
    else:
        row.field = matcher.subject
    return len(tables.regexps) - 1


def is_placeholder(text: str) -> bool:
    """Whether a text is one placeholder and nothing else (caddyhttp/vars.go)."""
    return text.startswith("{") and text.endswith("}") and text.count("{") == 1


def subject_text(subject: str) -> pb.Text:
    """Return what `vars` compares: a placeholder, or the variable of that name as it is written."""
    if is_placeholder(subject):
        return parse_text(subject)
    return pb.Text(parts=[pb.Part(placeholder=f"http.vars.{subject}")])


def parse_texts(values: Iterable[str]) -> list[pb.Text]:
    """Return the values as texts where one of them has a placeholder, else nothing."""
    found = list(values)
    return [parse_text(value) for value in found] if any(placeholders(value) for value in found) else []


def add_assignments(tables: pb.Tables, handler: tree.SetVariables) -> int:
    """Add the variables of `vars`."""
    row = tables.assignments.add()
    for name, value in handler.variables:
        assignment = row.assignments.add(name=name, value=parse_text(value))
        if placeholders(name):
            assignment.name_text.CopyFrom(parse_text(name))
        if name in handler.literals:
            assignment.kind = _kind_of(value)
    return len(tables.assignments) - 1


def _kind_of(literal: str) -> pb.ValueKind.ValueType:
    # Caddy's configuration is JSON, whose numbers are all doubles.
    return pb.VALUE_DOUBLE if re.search(r"\d", literal) else pb.VALUE_BOOLEAN


def add_logger_names(tables: pb.Tables, handler: tree.NameLoggers) -> int:
    """Add the variable that `log_name` sets."""
    value = pb.Text(parts=[pb.Part(literal="\n".join(handler.names))])
    tables.assignments.add(assignments=[pb.Assignment(name=LOGGER_NAMES, value=value)])
    return len(tables.assignments) - 1


def add_map(tables: pb.Tables, handler: tree.MapValues) -> int:
    """Add a `map`."""
    row = tables.maps.add(source=parse_text(handler.source))
    row.destinations.extend(name[1:-1] for name in handler.destinations)
    for mapping in handler.mappings:
        entry = row.mappings.add()
        if mapping.regexp:
            entry.pattern = mapping.input
        else:
            entry.input = mapping.input
        for output in mapping.outputs:
            if output is None:
                entry.outputs.add(absent=True)
            elif mapping.regexp:
                entry.outputs.add(template=output)
            else:
                entry.outputs.add(text=parse_text(output))
    row.defaults.extend(parse_text(default) for default in handler.defaults)
    return len(tables.maps) - 1


def add_log_field(tables: pb.Tables, handler: tree.AppendLog) -> int:
    """Add a field of the access log line; a value with more than a placeholder is taken as it is."""
    row = tables.log_fields.add(key=handler.key, early=handler.early)
    if is_placeholder(handler.value):
        row.value.CopyFrom(parse_text(handler.value))
    else:
        row.value.parts.add(literal=handler.value)
        row.variable = handler.value
    return len(tables.log_fields) - 1


def add_trace(tables: pb.Tables, handler: tree.Trace) -> int:
    """Add a trace."""
    row = tables.traces.add(span=parse_text(handler.span or "handler"))
    for name, value in handler.attributes:
        row.attributes.add(name=name, value=parse_text(value))
    return len(tables.traces) - 1
