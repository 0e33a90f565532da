"""Regular expressions of users: those that Go takes (RE2) and the engine can compile.

In: a pattern. Out: what it weighs, or why it cannot be used. Called by whoever reads patterns, of Caddyfiles
and of objects, and for the sum of a host. Rule: the engine takes what passes here, since one pattern that it
refuses closes its whole host.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

import re2

COMPILED_BYTES_MAX: Final = 560_000
"""RE2's own measure: 31 times `\\pL`, thousands of letters. The engine's `REGEX_BYTES_MAX` holds them."""
STATE_BYTES: Final = 256
"""What the engine holds for each instruction of RE2's program, measured on the largest: 37 to 230."""
GROUP_BYTES: Final = 32
"""And beside, in two tables of a thread that searches, for each group of the pattern."""
_REMEMBERED_LETTERS_MAX: Final = 1024
"""4,096 verdicts are kept, of longer patterns none: some 8 MiB at most."""
_CURE: Final = "use the syntax of RE2, without look-around"
_NAME: Final = re.compile(r"[A-Za-z_][0-9A-Za-z_]*")
_LACKING: Final = re.compile(r"(?<!\\)(?:\\\\)*(\\C|\\[pP]\{\^?Cs\})")
"""A byte by itself, which Go refuses too, and halves of characters, which no text has."""
_REPEATED_FLAGS: Final = re.compile(
    r"""\\Q.*?(?:\\E|\Z) | \\. | \[\^?\]?(?>\[:\^?[a-z]+:\]|\\.|[^\]\\])*+\]
    | (?P<flags>\(\?[a-zA-Z-]+\))(?=[*+?]|\{[0-9]+(?:,[0-9]*)?\})""",
    re.DOTALL | re.VERBOSE,
)
"""Flags with a repetition behind, which Go takes for one of what stands before; not in quotes and classes."""


class PatternError(Exception):
    """A pattern that cannot be used: why, and the cure."""

    def __init__(self, message: str, cure: str = _CURE) -> None:
        self.cure = cure
        super().__init__(message)


def check_pattern(pattern: str) -> None:
    """Raise `PatternError` where a pattern cannot be used."""
    weigh_pattern(pattern)


def weigh_pattern(pattern: str) -> int:
    """Return the bytes that a thread of the engine may need for a pattern; raise `PatternError` as above."""
    judge = _judge_remembered if len(pattern) <= _REMEMBERED_LETTERS_MAX else _judge
    judged = judge(pattern)
    if isinstance(judged, _Refusal):
        raise PatternError(judged.message, judged.cure)
    return judged


class _Refusal(NamedTuple):
    message: str
    cure: str = _CURE


def _judge(pattern: str) -> int | _Refusal:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = COMPILED_BYTES_MAX
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        if "too large" in reason:
            return _Refusal(reason, "repeat less, or smaller classes of characters")
        return _Refusal(reason)
    if lacking := _LACKING.search(pattern):
        return _Refusal(f"invalid escape sequence: {lacking[1]}", "leave it out: it fits no character")
    for part in _REPEATED_FLAGS.finditer(pattern):
        if flags := part["flags"]:
            cure = f"write the repetition before {flags}, behind what it repeats"
            return _Refusal(f"no argument for repetition operator after {flags}", cure)
    for name in compiled.groupindex:
        # Go takes digits at the beginning and names that come twice; the engine's library does not.
        if not _NAME.fullmatch(name) or len(re.findall(rf"\(\?P?<{name}>", pattern)) > 1:
            cure = "name each group once, by letters of ASCII, digits and _, no digit first"
            return _Refusal(f"invalid name of a group: {name}", cure)
    return int(compiled.programsize) * (STATE_BYTES + GROUP_BYTES * int(compiled.groups))


_judge_remembered = lru_cache(maxsize=4096)(_judge)
