"""Patterns of users: regular expressions that must be RE2's.

In: a pattern as an object has it. Out: nothing, or why it cannot be used. Called for paths and for values of
annotations. What passes here is compiled again by the engine's own library.
"""

from __future__ import annotations

import re
from typing import Final

_NOT_RE2: Final = re.compile(r"\(\?(?:[=!>|&R(]|<[=!]|P[>=])|\\[1-9gkKGXRC]|[*+?}]\+")


class PatternError(Exception):
    """A pattern that cannot be used; says why, to follow the pattern's name."""


def check_pattern(pattern: str) -> None:
    """Raise `PatternError` where a pattern is no RE2."""
    found = _NOT_RE2.search(pattern)
    if found:
        raise PatternError(f"`{pattern}` holds `{found[0]}`, which is no RE2 syntax")
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise PatternError(f"`{pattern}` is no regular expression: {error}") from error
