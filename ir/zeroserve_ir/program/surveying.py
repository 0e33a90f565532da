"""Which widths the path comparisons of a site's program have: code is canonical for them.

In: a site's routes. Out: words per comparison of Ingress paths (None: too long, found by trie) and of Caddy's
simple patterns. Called by `lowering`. What is not seen here (patterns of expressions) is compared if it fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zeroserve_ir import tree
from zeroserve_ir.program.paths import PathMatch, choose_width
from zeroserve_ir.program.patterns import choose_pattern_width

_Match = PathMatch | tree.MatchPath


@dataclass(frozen=True, slots=True)
class Widths:
    """Words of eight bytes."""

    paths: int | None
    patterns: int


def choose_widths(site: tree.Site) -> Widths:
    """Return the widths that hold what a site compares."""
    matches = [*_matches_of_routes(site.routes), *_matches_of_routes(site.errors)]
    paths = [match for match in matches if not isinstance(match, tree.MatchPath)]
    patterns = (match for match in matches if isinstance(match, tree.MatchPath))
    return Widths(choose_width(paths) if paths else None, choose_pattern_width(patterns))


def _matches_of_routes(routes: Sequence[tree.Route]) -> Iterator[_Match]:
    for route in routes:
        for matchers in route.matchers:
            yield from _matches_of_set(matchers)
        for handler in route.handlers:
            for nested in nested_routes(handler):
                yield from _matches_of_routes(nested)


def nested_routes(handler: tree.Handler) -> Iterator[Sequence[tree.Route]]:
    """Yield the lists of routes within a handler."""
    match handler:
        case tree.Subroute(routes=routes):
            yield routes
        case tree.ReverseProxy(response_handlers=handlers) | tree.Intercept(handlers=handlers):
            yield from (one.routes for one in handlers)


def _matches_of_set(matchers: tree.MatcherSet) -> Iterator[_Match]:
    for matcher in matchers:
        if isinstance(matcher, tree.MatchPathExact | tree.MatchPathPrefix | tree.MatchPath):
            yield matcher
        elif isinstance(matcher, tree.MatchNot):
            for inner in matcher.sets:
                yield from _matches_of_set(inner)
