"""Ingress paths as data: the constants that canonical code compares a request path with.

The engine keeps one "/" after the path (abi.Field.PATH_BYTES), so the pattern's bytes with a "/" behind
decide both kinds: a prefix fits where they begin the path, element by element; an exact path fits where,
besides, the path is no longer than the pattern. Words are compared under masks and padded to a width that
all patterns of a site share, so that code depends on the number of patterns and that width alone.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from zeroserve_ir.program import abi
from zeroserve_ir.tree import MatchPathExact, MatchPathPrefix

WIDTHS = (2, 4, 8, 16, 32)
"""Words of eight bytes; longer patterns are found by trie."""
ANY_LENGTH = 0xFFFF_FFFF

PathMatch = MatchPathExact | MatchPathPrefix


@dataclass(frozen=True, slots=True)
class PathConstants:
    """One pattern: its words and masks, and the longest path that it fits."""

    words: tuple[int, ...]
    masks: tuple[int, ...]
    length_max: int

    def encode(self) -> bytes:
        """Return the layout that `PathLayout` describes."""
        pairs = (value for pair in zip(self.words, self.masks, strict=True) for value in pair)
        return struct.pack(f"<Q{2 * len(self.words)}Q", self.length_max, *pairs)


@dataclass(frozen=True, slots=True)
class PathBeginning:
    """What a path must begin with, and the longest path that it fits."""

    text: bytes
    length_max: int = ANY_LENGTH

    def encode(self, width: int) -> PathConstants:
        """Return the constants of its comparison at a width that holds it."""
        padded = self.text.ljust(8 * width, b"\0")
        mask = (b"\xff" * len(self.text)).ljust(8 * width, b"\0")
        return PathConstants(
            words=struct.unpack(f"<{width}Q", padded),
            masks=struct.unpack(f"<{width}Q", mask),
            length_max=self.length_max,
        )


class ComparedPath(Enum):
    """The paths of the context: (length, content)."""

    SENT = (abi.Field.PATH_LENGTH, abi.Field.PATH_BYTES)
    FOLDED = (abi.Field.FOLDED_LENGTH, abi.Field.FOLDED_BYTES)

    @property
    def length(self) -> abi.Field:
        """Where its length is."""
        return self.value[0]

    @property
    def content(self) -> abi.Field:
        """Where its bytes are."""
        return self.value[1]


def read_path(match: PathMatch) -> PathBeginning:
    """Return what the path, with its "/" behind, must begin with."""
    path = match.path.encode()
    if isinstance(match, MatchPathExact):
        return PathBeginning(path + b"/", len(path))
    return PathBeginning(path.rstrip(b"/") + b"/")


def choose_width(matches: Sequence[PathMatch]) -> int | None:
    """Return the number of words that hold every pattern, or None when one is too long."""
    longest = max(len(read_path(match).text) for match in matches)
    return next((width for width in WIDTHS if longest <= 8 * width), None)
