"""Paths told apart by one multiplication a word, as the constants of a run's comparison.

In: patterns, of which no two agree as far as the shortest goes, so at most one fits any path. Out: masks and
factors that send each pattern to a bucket of its own, and the patterns by column. Called by `dispatching`.
Rule: code depends on the numbers of rows and words alone; what a bucket names is then compared whole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from zeroserve_ir.program.arithmetic import MASK_64
from zeroserve_ir.program.paths import PathBeginning

BUCKET_BITS = 8
WORDS_MAX = 4
"""Words that are multiplied: patterns that differ behind them are compared one after another."""
PATHS_MIN = 8
"""Fewer paths are compared as fast one after another (measured: docs/performance.md)."""
PATHS_MAX = 32
_ATTEMPTS = 256


@dataclass(frozen=True, slots=True)
class PathHash:
    """A run's constants: where each part begins, in bytes, and the parts one after another."""

    paths: int
    words: int
    """Of a pattern, eight bytes each."""
    content: bytes

    @property
    def rows(self) -> int:
        """The number of rows of a column: a power of two."""
        return 1 << (self.paths - 1).bit_length()

    @property
    def hashed_words(self) -> int:
        """Of the path; a mask and a factor for each are at the beginning."""
        return min(self.words, WORDS_MAX)

    @property
    def buckets_offset(self) -> int:
        """A byte for each bucket: the row of its pattern."""
        return 16 * self.hashed_words

    def column_offset(self, column: int) -> int:
        """Column 0: the longest path that fits; then a word and its mask, by turns."""
        return self.buckets_offset + (1 << BUCKET_BITS) + 8 * self.rows * column


def hash_paths(patterns: Sequence[PathBeginning], words: int) -> PathHash | None:
    """Return the constants of a run of patterns of so many words at most, or None where it has none."""
    texts = [pattern.text for pattern in patterns]
    shared = min(8 * WORDS_MAX, *(len(text) for text in texts))
    if len({text[:shared] for text in texts}) < len(texts):
        return None
    hashed = min(words, WORDS_MAX)
    keys = [struct.unpack(f"<{hashed}Q", text[:shared].ljust(8 * hashed, b"\0")) for text in texts]
    for factors in _factors(hashed):
        sums = [sum(word * factor for word, factor in zip(key, factors, strict=True)) for key in keys]
        buckets = [(total & MASK_64) >> 64 - BUCKET_BITS for total in sums]
        if len(set(buckets)) == len(buckets):
            return _encode(patterns, words, shared, factors, buckets)
    return None


def _factors(count: int) -> Iterator[tuple[int, ...]]:
    """Odd numbers, the same ones each time: a Weyl sequence, mixed (SplitMix64, Steele et al., 2014)."""
    state = 0
    for _ in range(_ATTEMPTS):
        factors = []
        for _ in range(count):
            state = (state + 0x9E37_79B9_7F4A_7C15) & MASK_64
            mixed = (state ^ state >> 30) * 0xBF58_476D_1CE4_E5B9 & MASK_64
            factors.append((mixed ^ mixed >> 27) | 1)
        yield tuple(factors)


def _encode(
    patterns: Sequence[PathBeginning], words: int, shared: int, factors: Sequence[int], buckets: Sequence[int]
) -> PathHash:
    masks = struct.unpack(f"<{len(factors)}Q", (b"\xff" * shared).ljust(8 * len(factors), b"\0"))
    pairs = (number for pair in zip(masks, factors, strict=True) for number in pair)
    rows = bytearray(1 << BUCKET_BITS)
    for row, bucket in enumerate(buckets):
        rows[bucket] = row
    made = PathHash(len(patterns), words, b"")
    encoded = [pattern.encode(words) for pattern in patterns]
    # Rows that nobody fills are those of the first pattern: whatever a bucket names is compared.
    encoded += [encoded[0]] * (made.rows - len(encoded))
    columns = [[one.length_max for one in encoded]]
    for word in range(words):
        columns += [[one.words[word] for one in encoded], [one.masks[word] for one in encoded]]
    numbers = [number for column in columns for number in column]
    # A masked index may lie seven bytes beyond a column's last row as far as the verifier knows.
    content = (
        struct.pack(f"<{2 * len(factors)}Q", *pairs) + rows + struct.pack(f"<{len(numbers)}Q8x", *numbers)
    )
    return replace(made, content=content)
