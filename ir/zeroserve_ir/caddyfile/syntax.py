"""The surface of a Caddyfile as data: blocks of nested segments, with every token's place.

Written by the parser, read by `meaning`. Nothing here knows what a directive means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.sources import Span


class Segment(NamedTuple):
    """A line that begins with a name, with the block that it may open."""

    name: Token
    arguments: tuple[Token, ...] = ()
    block: tuple[Segment, ...] | None = None

    @property
    def span(self) -> Span:
        """Where the name stands."""
        return self.name.span

    def files(self) -> Iterator[str]:
        """Yield the file of every token, at any depth."""
        yield self.name.span.file
        for token in self.arguments:
            yield token.span.file
        for inner in self.block or ():
            yield from inner.files()


@dataclass(frozen=True, slots=True)
class SiteBlock:
    """Addresses and what is under them."""

    keys: tuple[Token, ...]
    segments: tuple[Segment, ...]
    braces: bool


@dataclass(frozen=True, slots=True)
class NamedRoute:
    """`&(name) { … }`: directives that `invoke name` runs."""

    name: Token
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class SyntaxTree:
    """A Caddyfile with its imports expanded; `texts` are the files read, by name, for rendering errors."""

    options: tuple[Segment, ...]
    sites: tuple[SiteBlock, ...]
    named_routes: tuple[NamedRoute, ...]
    texts: dict[str, str]
