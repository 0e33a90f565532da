"""Where a key of a TOML file stands: its parser tells nobody.

In: the text, and keys by their names. Out: `file:line`. The rule: a line that is near helps, too; what is
found nowhere has the line of what it belongs to.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

LIKENESS: Final = 0.6
HEAD: Final = re.compile(r"^[ \t]*\[\[[ \t]*case[ \t]*\]\]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Place:
    """A table of a file: what belongs to it begins at `start`, and is called `table` plus its key."""

    path: Path
    text: str
    start: int = 0
    table: str = ""

    def enter(self, key: str, named: str = "") -> Place:
        """Return the place of a table in this one."""
        found = self._find(key)
        return replace(self, start=found, table=f"{self.table}{named or key}.")

    def enter_case(self, number: int) -> Place:
        """Return the place of a case, from 1."""
        heads = list(HEAD.finditer(self.text))
        start = heads[number - 1].end() if number <= len(heads) else self.start
        return replace(self, start=start, table=f"case {number}: ")

    def show(self, key: str = "") -> str:
        """Return file and line of a key, or of the table itself."""
        start = self._find(key) if key else self.start
        return f"{self.path}:{self.text.count(chr(10), 0, start) + 1}"

    def refuse(self, key: str, known: Iterable[str]) -> str:
        """Return what is to be said of a key that nobody knows."""
        names = sorted(known)
        close = difflib.get_close_matches(key, names, n=1, cutoff=LIKENESS)
        cure = f"write {close[0]!r}" if close else f"known are {', '.join(names)}"
        return f"{self.show(key)}: {self.table}unknown key {key!r}; {cure}"

    def _find(self, key: str) -> int:
        written = rf"(?<![\w\"'-])[\"']?{re.escape(key)}[\"']?[ \t]*[=\].]"
        found = re.compile(written).search(self.text, self.start)
        return found.start() if found else self.start
