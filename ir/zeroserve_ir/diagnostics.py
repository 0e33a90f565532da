"""Findings about a user's configuration: data first, three renderings of it after.

In: a code of `codes`, a message, where it is. Out: the long form for a terminal, the concise one
for a condition, an Event or a log line, and JSON. Nothing here is raised through layers: builders
collect diagnostics and go on with what is sound (`DiagnosticError` is for the borders that must stop).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from zeroserve_ir.codes import Code
from zeroserve_ir.sources import NOWHERE, Origin, Span


class Severity(Enum):
    """How bad a finding is: an error withholds what it names, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding.

    `message` is lower case without a full stop; `label` stands under the caret; `help` is the cure.
    """

    code: Code
    message: str
    span: Span = NOWHERE
    origin: Origin | None = None
    label: str = ""
    help: str = ""
    severity: Severity = Severity.ERROR

    @property
    def where(self) -> str:
        """The place in one line: object and field, or file, line and column."""
        origin = self.origin or self.span.origin
        text = f"{self.span.file}:{self.span.line}:{self.span.column}" if self.span.line else ""
        if origin is None:
            return text
        return f"{origin} {text}".rstrip() if text and not self.span.origin else str(origin)

    def render_short(self) -> str:
        """Render as one line, for conditions, Events and logs."""
        cure = f"; {self.help}" if self.help else ""
        place = f"{self.where}: " if self.where else ""
        return f"{self.code.name}: {place}{self.message}{cure}"

    def render(self, texts: Mapping[str, str] | None = None) -> str:
        """Render for a terminal; `texts` maps file names to their text, for the quoted line."""
        lines = [f"{self.severity.value}[{self.code.name}]: {self.message}"]
        if self.where:
            lines.append(f"  --> {self.where}")
        lines += [f"  = imported from {chain}" for chain in self.span.imports]
        lines += self._quote((texts or {}).get(self.span.file))
        if self.help:
            lines.append(f"   = help: {self.help}")
        return "\n".join(lines)

    def _quote(self, text: str | None) -> list[str]:
        rows = text.split("\n") if text else []
        if not 0 < self.span.line <= len(rows):
            return []
        row = rows[self.span.line - 1].rstrip("\r")
        gutter = " " * len(str(self.span.line))
        indent = "".join("\t" if char == "\t" else " " for char in row[: self.span.column - 1])
        caret = "^" * max(1, self.span.end - self.span.column)
        return [
            f" {gutter} |",
            f" {self.span.line} | {row}",
            f" {gutter} | {indent}{caret} {self.label}".rstrip(),
        ]


class DiagnosticError(Exception):
    """The findings that stop a command; carries all of them."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(diagnostic.render_short() for diagnostic in self.diagnostics))
