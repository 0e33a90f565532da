"""Runs of Ingress paths that are found at once instead of by one comparison after another.

In: a list of routes and a position. Out: the run of path routes that begins there. Some paths of which only
one can fit are told apart by a hash; many, where the first match in order is the longest one, by a trie.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zeroserve_ir import tree
from zeroserve_ir.program.emitting import Emitter
from zeroserve_ir.program.hashing import BUCKET_BITS, PATHS_MAX, PATHS_MIN, PathHash, hash_paths
from zeroserve_ir.program.paths import PathMatch, is_longest_first


@dataclass(frozen=True, slots=True)
class PathDispatch:
    """Consecutive routes with one path matcher each, of which at most one may run."""

    routes: tuple[tree.Route, ...]
    matches: tuple[PathMatch, ...]
    hashed: PathHash | None = None
    """None: found by trie."""

    @property
    def is_proxies_only(self) -> bool:
        """Whether every route is a single `reverse_proxy`."""
        return all(
            len(route.handlers) == 1
            and isinstance(route.handlers[0], tree.ReverseProxy)
            and not route.handlers[0].retry_match
            and not route.handlers[0].response_handlers
            for route in self.routes
        )

    def proxies(self) -> Iterator[tree.ReverseProxy]:
        """Yield the handler of each route of a run of proxies."""
        for route in self.routes:
            handler = route.handlers[0]
            assert isinstance(handler, tree.ReverseProxy)
            yield handler

    def entries(self) -> Iterator[tuple[str, bool, int]]:
        """Yield (path, exact, position + 1) for the trie; of equal entries the first wins."""
        seen: set[tuple[str, bool]] = set()
        for value, match in enumerate(self.matches, start=1):
            exact = isinstance(match, tree.MatchPathExact)
            if (match.path, exact) not in seen:
                seen.add((match.path, exact))
                yield match.path, exact, value


def find_path_run(
    routes: Sequence[tree.Route], index: int, done: frozenset[str], words: int | None
) -> PathDispatch | None:
    """Return the run at `index`, or None where comparisons serve; patterns have so many words at most."""
    end = index
    group = routes[index].group
    while end < len(routes) and _is_alone(routes[end], group) and routes[end].group not in done:
        end += 1
    chosen = tuple(routes[index:end])
    matches = tuple(match for route in chosen if (match := single_path(route)) is not None)
    if len(chosen) <= PATHS_MAX:
        return _find_hashed(chosen, matches, words)
    return PathDispatch(chosen, matches) if is_longest_first(matches) else None


def _find_hashed(
    routes: tuple[tree.Route, ...], matches: tuple[PathMatch, ...], words: int | None
) -> PathDispatch | None:
    """Return as many routes as a hash tells apart; short paths at the end, as `/`, are compared."""
    if words is None:
        return None
    for count in range(len(routes), PATHS_MIN - 1, -1):
        hashed = hash_paths(matches[:count], words)
        if hashed is not None:
            return PathDispatch(routes[:count], matches[:count], hashed)
    return None


def find_hashed_path(emitter: Emitter, hashed: PathHash, missed: str) -> None:
    """Leave the row of the pattern that fits the request path in r0, or go to `missed`."""
    begin = emitter.add_constants(hashed.content)
    emitter.hash_path([begin + 16 * word for word in range(hashed.hashed_words)], BUCKET_BITS)
    emitter.look_up(begin + hashed.buckets_offset, hashed.rows)
    columns = [begin + hashed.column_offset(column) for column in range(1 + 2 * hashed.words)]
    emitter.compare_row(columns, missed)


def single_path(route: tree.Route) -> PathMatch | None:
    """Return the route's path matcher when it is the only one."""
    if len(route.matchers) != 1 or len(route.matchers[0]) != 1:
        return None
    match = route.matchers[0][0]
    return match if isinstance(match, tree.MatchPathExact | tree.MatchPathPrefix) else None


def answers(route: tree.Route) -> bool:
    """Tell whether no later route can run after this one."""
    last = route.handlers[-1] if route.handlers else None
    if isinstance(last, tree.ReverseProxy):
        return route.terminal or not last.response_handlers
    return route.terminal or isinstance(last, tree.StaticResponse | tree.RaiseError)


def _is_alone(route: tree.Route, group: str) -> bool:
    return single_path(route) is not None and route.group == group and (bool(group) or answers(route))
