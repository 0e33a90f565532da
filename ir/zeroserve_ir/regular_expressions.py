"""Regular expressions of users: those that Go takes (RE2) and the engine can compile.

In: a pattern. Out: nothing, or why it cannot be used. Called by whoever reads patterns, of Caddyfiles and of
objects. Rule: the engine takes what passes here, since one pattern that it refuses closes its whole host.
"""

from __future__ import annotations

import re
from typing import Final

import re2

COMPILED_BYTES_MAX: Final = 560_000
"""RE2's own measure: 31 times `\\pL`, thousands of letters. The engine's `REGEX_BYTES_MAX` holds them."""
_CURE: Final = "use the syntax of RE2, without look-around"
_NAME: Final = re.compile(r"[A-Za-z_][0-9A-Za-z_]*")
_LACKING: Final = re.compile(r"(?<!\\)(?:\\\\)*(\\C|\\[pP]\{\^?Cs\})")
"""A byte by itself, which Go refuses too, and halves of characters, which no text has."""


class PatternError(Exception):
    """A pattern that cannot be used: why, and the cure."""

    def __init__(self, message: str, cure: str = _CURE) -> None:
        self.cure = cure
        super().__init__(message)


def check_pattern(pattern: str) -> None:
    """Raise `PatternError` where a pattern cannot be used."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = COMPILED_BYTES_MAX
    try:
        names = re2.compile(pattern, options).groupindex
    except re2.error as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        if "too large" in reason:
            raise PatternError(reason, "repeat less, or smaller classes of characters") from None
        raise PatternError(reason) from None
    if lacking := _LACKING.search(pattern):
        raise PatternError(f"invalid escape sequence: {lacking[1]}", "leave it out: it fits no character")
    for name in names:
        # Go takes digits at the beginning and names that come twice; the engine's library does not.
        if not _NAME.fullmatch(name) or len(re.findall(rf"\(\?P?<{name}>", pattern)) > 1:
            cure = "name each group once, by letters of ASCII, digits and _, no digit first"
            raise PatternError(f"invalid name of a group: {name}", cure)
