"""Where a piece of configuration came from: files, spans in them, Kubernetes objects.

Every token, tree node and model object carries one of these, so that any later layer can point at
the text or the field that caused a finding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Origin:
    """A Kubernetes object and, where known, the field in it."""

    kind: str
    namespace: str
    name: str
    field: str = ""
    """Path in the manifest, such as `spec.rules[0].http.paths[1].path`."""

    def at(self, field: str) -> Origin:
        """Return the same object at another field."""
        return Origin(self.kind, self.namespace, self.name, field)

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{where} ({self.kind}) {self.field}".rstrip()


class Span(NamedTuple):
    """A stretch of one line of text; lines and columns count from 1, `end` is exclusive.

    A tuple, as tokens are: a large Caddyfile has millions, and dataclasses take several times as long.
    """

    file: str
    line: int
    column: int
    end: int
    imports: tuple[str, ...] = ()
    """The chain of `import`s that brought the text here, outermost first, as `file:line`."""
    origin: Origin | None = None
    """The object whose field holds the text, where it is not a file."""

    @property
    def tenant(self) -> str:
        """The namespace that it comes from, "" where there is no cluster."""
        return self.origin.namespace if self.origin is not None else ""


NOWHERE = Span(file="", line=0, column=0, end=0)
