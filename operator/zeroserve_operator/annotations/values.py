"""Values of annotations: each type of ingress-nginx's `annotations/parser`, with its diagnostics.

In: `Annotations` of one object. Out: typed values; a wrong one is ZS0403 and reads as absent. Called by
`policies`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.model import Denial
from zeroserve_ir.sources import Origin

from zeroserve_operator.annotations.names import PREFIX

# Go's strconv.ParseBool
TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
OFF = frozenset({"", "off", "no"} | {text.lower() for text in FALSE})
"""Words for off, in lower case, where ingress-nginx takes no boolean."""
_SIZE = re.compile(r"(\d{1,15})([bkmg]?)", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
SECONDS_MAX = (1 << 32) // 1000 - 1
BYTES_MAX = (1 << 63) - 1
NUMBER_MAX = (1 << 31) - 1


@dataclass(slots=True)
class Annotations:
    """The ingress-nginx annotations of one object while they are read."""

    values: Mapping[str, str]
    """By name without the prefix."""
    origin: Origin
    honour_restrictions: bool = True
    diagnostics: list[Diagnostic] = field(default_factory=list)
    denial: Denial | None = None

    def has(self, name: str) -> bool:
        """Tell whether the annotation is there."""
        return name in self.values

    def text(self, name: str) -> str:
        """Return a value without the spaces around it; "" where it is absent."""
        return self.values.get(name, "").strip()

    def flag(self, name: str, default: bool) -> bool:
        """Return a boolean as Go's ParseBool reads it."""
        if name not in self.values:
            return default
        value = self.values[name]
        if value in TRUE or value in FALSE:
            return value in TRUE
        shown = "true" if default else "false"
        self.warn(name, f'is `{value}`, not "true" or "false"; it counts as {shown}')
        return default

    def seconds(self, name: str) -> int:
        """Return a number of seconds, without unit, in milliseconds; 0 where it is absent or wrong."""
        if name not in self.values:
            return 0
        value = self.values[name].strip()
        if value.isascii() and value.isdecimal() and int(value[:12]) > 0:
            return min(int(value[:12]), SECONDS_MAX) * 1000
        self.warn(name, f"is `{value}`, not a number of seconds without unit; the default holds")
        return 0

    def number(self, name: str) -> int:
        """Return a whole number that is not negative; 0 where it is absent or wrong."""
        value = self.text(name)
        if value.isascii() and value.isdecimal() and int(value[:12]) <= NUMBER_MAX:
            return int(value[:12])
        if name in self.values:
            self.warn(name, f"is `{value}`, not a whole number from 0 on; it has no effect")
        return 0

    def size(self, name: str) -> int | None:
        """Return a size in bytes as nginx writes it (8m, 512k, 0 for no limit); None: absent or wrong."""
        if name not in self.values:
            return None
        value = self.values[name].strip()
        match = _SIZE.fullmatch(value)
        if match:
            return min(int(match[1]) * _UNITS[match[2].lower()], BYTES_MAX)
        self.warn(name, f"is `{value}`, not a size such as 8m, 512k or 0; the default holds")
        return None

    def matching(self, name: str, pattern: re.Pattern[str], default: str) -> str:
        """Return a text that must have a form, or the default."""
        if name not in self.values:
            return default
        value = self.text(name)
        if value and pattern.fullmatch(value):
            return value
        self.warn(name, f"is `{value}`, which has not the right form; the default holds")
        return default

    def warn(self, name: str, message: str, code: Code = Code.ZS0403, help_text: str = "") -> None:
        """Note a finding that withholds nothing."""
        self._note(code, name, message, Severity.WARNING, help_text)

    def close(self, name: str, message: str, code: Code, help_text: str = "") -> None:
        """Note a finding that closes the routes of the object: they answer 503."""
        self._note(code, name, message, Severity.ERROR, help_text)
        if self.denial is None:
            self.denial = Denial(f"{code.name}: {PREFIX}{name} {message}")

    def _note(self, code: Code, name: str, message: str, severity: Severity, help_text: str) -> None:
        key = f"{PREFIX}{name}"
        self.diagnostics.append(
            Diagnostic(
                code,
                f"{key} {message}",
                origin=self.origin.at(f"metadata.annotations[{key}]"),
                help=help_text,
                severity=severity,
            )
        )
