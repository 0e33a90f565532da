"""`{$NAME}` and `{$NAME:default}` in the text of a Caddyfile, replaced before lexing as Caddy does.

In: text and the environment as a mapping. Out: the substituted text with a map of its offsets back to
the original, so that spans point at what the user wrote. Called by the lexer only.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SubstitutedText:
    """Text after substitution; `starts` are offsets in `text` where the shift to `original` changes."""

    text: str
    original: str
    starts: tuple[int, ...] = (0,)
    origins: tuple[int, ...] = (0,)
    frozen: tuple[bool, ...] = (False,)
    """Whether the stretch is a substituted value: all of it lies at one place of the original."""

    def original_offset(self, offset: int) -> int:
        """Return where the character at `offset` of `text` stands in the original."""
        index = bisect_right(self.starts, offset) - 1
        return self.origins[index] + (0 if self.frozen[index] else offset - self.starts[index])


def substitute_environment(text: str, environment: Mapping[str, str]) -> SubstitutedText:
    """Replace `{$NAME}` and `{$NAME:default}`; an unset name without default becomes nothing."""
    if "{$" not in text:
        return SubstitutedText(text, text)
    parts: list[str] = []
    starts, origins, frozen = [0], [0], [False]
    position = length = 0
    while (begin := text.find("{$", position)) >= 0:
        end = text.find("}", begin + 2)
        if end < 0:
            break
        name = text[begin + 2 : end]
        if not name:
            parts.append(text[position : end + 1])
            length += end + 1 - position
            position = end + 1
            continue
        key, _, default = name.partition(":")
        value = environment.get(key, default)
        parts.append(text[position:begin])
        length += begin - position
        for start, origin, is_value in ((length, begin, True), (length + len(value), end + 1, False)):
            starts.append(start)
            origins.append(origin)
            frozen.append(is_value)
        parts.append(value)
        length += len(value)
        position = end + 1
    parts.append(text[position:])
    return SubstitutedText("".join(parts), text, tuple(starts), tuple(origins), tuple(frozen))


def environment_references(text: str) -> list[int]:
    """Return the offsets of `{$NAME}` references, for profiles that refuse them."""
    offsets = []
    position = 0
    while (begin := text.find("{$", position)) >= 0:
        end = text.find("}", begin + 2)
        if end < 0:
            break
        if end > begin + 2:
            offsets.append(begin)
        position = end + 1
    return offsets
