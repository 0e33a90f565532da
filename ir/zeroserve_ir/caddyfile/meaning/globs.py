"""Go's filepath.Match: `*` and `?` within one path element, `[a-z]` and `[^a-z]`, `\\` to escape.

In: pattern and name. Out: whether the whole name fits; a broken pattern fits nothing. Called for hide lists.
"""

from __future__ import annotations

import re
from functools import lru_cache


@lru_cache(maxsize=256)
def _compile(pattern: str) -> re.Pattern[str] | None:
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if char == "*":
            parts.append("[^/]*")
        elif char == "?":
            parts.append("[^/]")
        elif char == "[":
            found = _CLASS.match(pattern, position)
            if found is None:
                return None
            parts.append(f"[{'^' if found[1] else ''}{_escape_class(found[2])}]")
            position = found.end()
        elif char == "\\":
            if position == len(pattern):
                return None
            parts.append(re.escape(pattern[position]))
            position += 1
        else:
            parts.append(re.escape(char))
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error:
        return None


_CLASS = re.compile(r"(\^?)((?:\\.|[^\]\\])+)\]", re.DOTALL)


def _escape_class(content: str) -> str:
    return re.sub(r"\\(.)|([\[\]^&|~\\])", lambda found: "\\" + (found[1] or found[2]), content)


def is_match(pattern: str, name: str) -> bool:
    """Whether a name fits a pattern."""
    compiled = _compile(pattern)
    return compiled is not None and compiled.fullmatch(name) is not None
