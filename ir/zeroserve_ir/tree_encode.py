"""`encode` of the route tree, and the matcher of answers that it shares with other handlers.

In, out and rules: as in `tree`, whose `Handler` names what is here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ResponseMatcher:
    """Caddy's response matcher: one of the statuses (below 10: a class), all of the fields."""

    statuses: tuple[int, ...] | None = None
    fields: tuple[tuple[str, tuple[str, ...] | None], ...] | None = None
    """By field, values with `*` at either end; None asks that the field is absent."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """One content coding: gzip, zstd or br (which stock Caddy lacks)."""

    name: str
    level: str = ""
    """A number for gzip and br, a word for zstd; "" is the default."""
    checksum: bool = True
    """zstd: whether a checksum ends the frame."""


@dataclass(frozen=True, slots=True)
class Encode:
    """`encode`: the encoders in the server's order of preference."""

    encoders: tuple[Encoder, ...]
    length_bytes_min: int = 0
    """Answers must be longer; 0 is Caddy's 512."""
    matcher: ResponseMatcher | None = None
    """None: Caddy's list of media types that are text."""
