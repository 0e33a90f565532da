"""Steps of a decision: what a program lowered to be explained reports, in the words of the configuration.

In: routes, matchers and handlers as lowering meets them. Out: rows of Tables.steps. Used by lowering and by
`zeroserve explain`, which tells from those that were reached which routes applied and what kept others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from zeroserve_ir import tree
from zeroserve_ir.caddyfile.printer_handlers import print_handler, print_set
from zeroserve_ir.sources import Span

TEXT_LENGTH_MAX = 120


class StepKind(Enum):
    """What was reached."""

    TRIED = "tried"
    """A route, before its matchers."""
    COMPARED = "compared"
    """A matcher, before it is asked."""
    APPLIES = "applies"
    """A route, after its matchers."""
    HANDLED = "handled"
    """A handler."""


@dataclass(frozen=True, slots=True)
class Step:
    """One row; `subject` is the route, matcher or handler itself."""

    kind: StepKind
    subject: tree.Route | tree.Matcher | tree.Handler
    text: str
    span: Span

    @property
    def place(self) -> str:
        """File and line, or the object and line."""
        return f"{self.span.origin or self.span.file}:{self.span.line}" if self.span.line else ""


@dataclass(slots=True)
class StepRecorder:
    """Collects the steps of one program."""

    steps: list[Step] = field(default_factory=list)

    def add(self, kind: StepKind, subject: tree.Route | tree.Matcher | tree.Handler, span: Span) -> int:
        """Return the row of a new step."""
        self.steps.append(Step(kind, subject, describe(subject), span))
        return len(self.steps) - 1


def describe(subject: tree.Route | tree.Matcher | tree.Handler) -> str:
    """Return one line of the Caddyfile for it."""
    if isinstance(subject, tree.Route):
        return " or ".join(" ".join(print_set(one)) for one in subject.matchers) or "*"
    if isinstance(subject, tree.Handler):
        if isinstance(subject, tree.Subroute):
            return "handle"
        directive = print_handler(subject)
        line = " ".join((directive.name, *directive.words))
    else:
        line = " ".join(text.strip() for text in print_set((subject,)))
    return line if len(line) <= TEXT_LENGTH_MAX else line[: TEXT_LENGTH_MAX - 1] + "…"
