"""Caddy's simple path patterns as data: the constants that canonical code compares the folded path with.

In: patterns of `path` matchers. Out: for those that need no more than a comparison of bytes (no star, or one
at an end), the constants of it; every other pattern is left to the helper `match_path`, whose meaning this is
(the engine's `compile_path`; Caddy: matchers.go, MatchPath). Called by `matching`. Words are compared under
masks and padded to a width that a site's patterns share, as `paths` does it with those of an Ingress.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from zeroserve_ir import tree
from zeroserve_ir.program import abi
from zeroserve_ir.program.paths import ANY_LENGTH, PathBeginning, PathConstants
from zeroserve_ir.program.texts import placeholders, unescape

WIDTHS = (2, 4, 8)
"""Words of eight bytes at the path's beginning; longer patterns are the helper's."""
END_WORDS = abi.FOLDED_END_BYTES // 8


class PatternKind(Enum):
    """What a pattern says of the folded path."""

    ANY = auto()
    EXACT = auto()
    PREFIX = auto()
    SUFFIX = auto()


@dataclass(frozen=True, slots=True)
class SimplePattern:
    """A pattern that is a comparison of bytes."""

    kind: PatternKind
    text: bytes

    def words(self) -> int:
        """Words of eight bytes at the path's beginning that it needs."""
        return 0 if self.kind is PatternKind.SUFFIX else -(-len(self.text) // 8)

    def beginning(self) -> PathBeginning:
        """What an exact path or a prefix asks of the folded path, behind which are zeros, as no path has."""
        return PathBeginning(self.text, len(self.text) if self.kind is PatternKind.EXACT else ANY_LENGTH)

    def slots(self, width: int) -> int:
        """Instructions of its comparison at a width: the length, the words, and a jump where it fits."""
        return 1 + 5 * END_WORDS if self.kind is PatternKind.SUFFIX else 4 + 5 * width


def read_pattern(pattern: str) -> SimplePattern | None:
    """Return what a pattern compares, or None where code cannot: it is more than that, or too long."""
    simple = _read_comparison(pattern)
    return simple if simple is not None and len(simple.text) <= _bytes_max(simple.kind) else None


def read_beginning(pattern: str) -> SimplePattern | None:
    """Return an exact path or a prefix of any length, or None where a pattern is neither."""
    simple = None if placeholders(pattern) else _read_comparison(pattern)
    return simple if simple is not None and simple.kind in (PatternKind.EXACT, PatternKind.PREFIX) else None


def _read_comparison(pattern: str) -> SimplePattern | None:
    text = unescape(pattern).lower()
    if not text.isascii() or "\0" in text or "%" in text or "//" in text:
        return None
    stars = text.count("*")
    if text == "*":
        return SimplePattern(PatternKind.ANY, b"")
    if stars == 1 and text.startswith("*"):
        return SimplePattern(PatternKind.SUFFIX, text[1:].encode())
    if stars == 1 and text.endswith("*"):
        return SimplePattern(PatternKind.PREFIX, text[:-1].encode())
    if any(sign in text for sign in "*?[\\"):
        return None
    return SimplePattern(PatternKind.EXACT, text.encode())


def split_patterns(patterns: Sequence[str]) -> tuple[list[SimplePattern], tuple[str, ...]]:
    """Return what can be compared, and the other patterns; placeholders make all of them the helper's."""
    if any(placeholders(pattern) for pattern in patterns):
        return [], tuple(patterns)
    read = [(read_pattern(pattern), pattern) for pattern in patterns]
    return [one for one, _ in read if one is not None], tuple(text for one, text in read if one is None)


def choose_pattern_width(matches: Iterable[tree.MatchPath]) -> int:
    """Return the number of words that holds the beginnings that a site compares."""
    simple = (one for match in matches for one in split_patterns(match.patterns)[0])
    longest = max((len(one.text) for one in simple if one.kind is not PatternKind.SUFFIX), default=0)
    return next(width for width in WIDTHS if longest <= 8 * width)


def encode_end(pattern: SimplePattern) -> PathConstants:
    """Return the constants of a suffix, which lies at the end of `FOLDED_END`."""
    padded = pattern.text.rjust(8 * END_WORDS, b"\0")
    mask = (b"\xff" * len(pattern.text)).rjust(8 * END_WORDS, b"\0")
    return PathConstants(
        words=struct.unpack(f"<{END_WORDS}Q", padded),
        masks=struct.unpack(f"<{END_WORDS}Q", mask),
        length_max=ANY_LENGTH,
    )


def _bytes_max(kind: PatternKind) -> int:
    return abi.FOLDED_END_BYTES if kind is PatternKind.SUFFIX else 8 * WIDTHS[-1]
