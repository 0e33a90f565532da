"""Runs of Ingress paths that are found by trie instead of one comparison after another.

In: a list of routes and a position. Out: the run of path routes that begins there, when it is long enough
to be worth a trie and the first match in order is the longest one, so that both ways agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zeroserve_ir import tree
from zeroserve_ir.program.paths import PathMatch, is_longest_first

COMPARED_MAX = 32
"""Above so many paths a trie walk is cheaper than comparisons (measured: design section 4)."""


@dataclass(frozen=True, slots=True)
class PathDispatch:
    """Consecutive routes with one path matcher each, of which at most one may run."""

    routes: tuple[tree.Route, ...]
    matches: tuple[PathMatch, ...]

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


def find_path_run(routes: Sequence[tree.Route], index: int, done: frozenset[str]) -> PathDispatch | None:
    """Return the run at `index`, or None where comparisons serve."""
    end = index
    group = routes[index].group
    while end < len(routes) and _is_alone(routes[end], group) and routes[end].group not in done:
        end += 1
    if end - index <= COMPARED_MAX:
        return None
    chosen = tuple(routes[index:end])
    matches = tuple(match for route in chosen if (match := single_path(route)) is not None)
    return PathDispatch(chosen, matches) if is_longest_first(matches) else None


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
