"""Reading raw objects: every access is checked, every wrong type is a diagnostic at its field.

In: decoded JSON or YAML. Out: plain values and nested readers. Called by the view modules beside it. Rule:
nothing here raises on bad input; a wrong value reads as absent and leaves a finding.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.sources import Origin

DEPTH_MAX = 32
"""Deepest nesting that is compared; Kubernetes objects that we read have less than ten levels."""


class Reader:
    """A mapping of a raw object with the path that leads to it."""

    def __init__(self, raw: Any, origin: Origin, findings: list[Diagnostic]) -> None:
        self.origin = origin
        self.findings = findings
        self.present = raw is not None
        self.raw: Mapping[Any, Any] = raw if isinstance(raw, Mapping) else {}
        if self.present and not isinstance(raw, Mapping):
            self.complain("", f"must be a mapping, not {describe(raw)}")

    def path_of(self, key: str) -> str:
        """Return the field path of a key of this mapping."""
        return join_path(self.origin.field, key)

    def complain(
        self, key: str, message: str, help_text: str = "", severity: Severity = Severity.ERROR
    ) -> None:
        """Note that a field is malformed."""
        where = self.path_of(key)
        text = f"{where} {message}" if where else f"the object {message}"
        self.findings.append(
            Diagnostic(Code.ZS0301, text, origin=self.origin.at(where), help=help_text, severity=severity)
        )

    def text(self, key: str, default: str = "") -> str:
        """Return a string field."""
        value = self.raw.get(key)
        if value is None:
            return default
        if isinstance(value, str):
            return value
        cure = "write it as text; a template is rendered first (`helm template`)"
        if not isinstance(value, dict | list):
            cure = f"write it in quotes: {quote(value)}"
        self.complain(key, f"must be a string, not {describe(value)}", cure)
        return default

    def required(self, key: str) -> str:
        """Return a string field that must be there and not empty."""
        value = self.text(key)
        if not value and (key not in self.raw or self.raw[key] in (None, "")):
            self.complain(key, "is required")
        return value

    def number(self, key: str, low: int, high: int) -> int | None:
        """Return an integer field within bounds, or None."""
        value = self.raw.get(key)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.complain(key, f"must be a number from {low} to {high}, not {describe(value)}")
        return None

    def flag(self, key: str) -> bool | None:
        """Return a boolean field, or None where it is absent."""
        value = self.raw.get(key)
        if value is None or isinstance(value, bool):
            return value
        self.complain(key, f"must be true or false, not {describe(value)}")
        return None

    def child(self, key: str) -> Reader:
        """Return a nested mapping; an absent one reads as empty, with `present` false."""
        return Reader(self.raw.get(key), self.origin.at(self.path_of(key)), self.findings)

    def items(self, key: str) -> list[Reader]:
        """Return the mappings of a list field."""
        return [
            Reader(
                {} if value is None else value, self.origin.at(f"{self.path_of(key)}[{index}]"), self.findings
            )
            for index, value in enumerate(self._list(key))
        ]

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the strings of a list field; other items are left out with a finding."""
        values = []
        for index, value in enumerate(self._list(key)):
            if isinstance(value, str):
                values.append(value)
            else:
                self.complain(f"{key}[{index}]", f"must be a string, not {describe(value)}")
        return tuple(values)

    def pairs(self, key: str) -> tuple[tuple[str, str], ...]:
        """Return a mapping of strings, sorted; other values are kept as text, with a finding.

        The API server refuses them, but an annotation that restricts access must not vanish with its quotes.
        """
        child = self.child(key)
        found = {}
        for name, value in child.raw.items():
            if not isinstance(name, str):
                self.complain(f"{key}[{name}]", "must have a string as its key", f"write {quote(name)}")
            if isinstance(value, str):
                found[str(name)] = value
            elif isinstance(value, bool | int | float):
                found[str(name)] = json.dumps(value)
                self.complain(
                    f"{key}[{name}]",
                    f"must be a string, not {describe(value)}",
                    f"write it in quotes: {quote(value)}",
                )
            elif value is not None:
                # A list of addresses still means that somebody is to be kept out.
                found[str(name)] = json.dumps(value, default=str, skipkeys=True)
                self.complain(f"{key}[{name}]", f"must be a string, not {describe(value)}")
        return tuple(sorted(found.items()))

    def _list(self, key: str) -> list[Any]:
        value = self.raw.get(key)
        if value is None:
            return []
        if isinstance(value, list):
            return value
        self.complain(key, f"must be a list, not {describe(value)}")
        return []


def join_path(before: str, key: str) -> str:
    """Join a field path and a key."""
    return f"{before}.{key}" if before and key else before or key


def describe(value: Any) -> str:
    """Name the type of a raw value as a user of YAML knows it, with short values shown."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text {value[:40]!r}"
        case list():
            return "a list"
        case Mapping():
            return "a mapping"
        case None:
            return "nothing"
    return f"a {type(value).__name__}"


def quote(value: Any) -> str:
    """Return a scalar as it must stand in a manifest to be a string."""
    return json.dumps(value if isinstance(value, str) else json.dumps(value, default=str))


def digest_raw(*parts: Any) -> str:
    """Return the hex SHA-256 of raw values in a canonical form."""
    try:
        text = _dump(parts)
    except TypeError:
        # Keys of several types, which only a manifest can hold, have no order.
        text = _dump(_with_text_keys(parts))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str, skipkeys=True)


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {f"{type(key).__name__} {key}": _with_text_keys(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_text_keys(item) for item in value]
    return value
