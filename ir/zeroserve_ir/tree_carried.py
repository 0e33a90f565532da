"""Parts of a configuration that are carried as Caddy's JSON: read, compared, written, not interpreted.

In: the readers of a Caddyfile, or Caddy's JSON. Out: the adapter, which writes them as they are; the
printer, which writes the lines that they came from; whoever runs a part of them. Equal JSON is an equal
value, whatever text it came from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from zeroserve_ir.sources import NOWHERE, Span

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Carried:
    """A JSON value as text with sorted keys, with the Caddyfile lines that mean it ("": none)."""

    text: str
    written: str = field(default="", compare=False)
    span: Span = field(default=NOWHERE, compare=False)

    @staticmethod
    def of(value: Any, written: str = "", span: Span = NOWHERE) -> Carried:
        """Freeze a JSON value."""
        return Carried(json.dumps(value, sort_keys=True, ensure_ascii=False), written, span)

    def value(self) -> Any:
        """Return the JSON value, a fresh one for each call."""
        return json.loads(self.text)


NOTHING_CARRIED = Carried("{}")


@dataclass(frozen=True, slots=True)
class CarriedHandler:
    """A handler of Caddy's that nothing here acts upon: its module's name and settings."""

    module: str
    settings: Carried = NOTHING_CARRIED


@dataclass(frozen=True, slots=True)
class CarriedMatcher:
    """A matcher of Caddy's that is as its JSON says: its module's name and settings."""

    module: str
    settings: Carried = NOTHING_CARRIED
