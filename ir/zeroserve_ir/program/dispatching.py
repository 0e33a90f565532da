"""Runs of paths that are found at once instead of by one comparison after another.

In: a list of routes and a position. Out: the run of path routes that begins there, an Ingress's or Caddy's
simple patterns. Some paths of which only one can fit are told apart by a hash, many by a trie; of an Ingress,
where the first match in order is the longest one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

from zeroserve_ir import tree
from zeroserve_ir.program.emitting import Emitter
from zeroserve_ir.program.hashing import BUCKET_BITS, PATHS_MAX, PATHS_MIN, PathHash, hash_paths
from zeroserve_ir.program.mentioning import mentions_body
from zeroserve_ir.program.paths import ComparedPath, PathBeginning, PathMatch, read_path
from zeroserve_ir.program.patterns import PatternKind, SimplePattern, read_beginning, split_patterns
from zeroserve_ir.program.surveying import Widths

PROXIES_HASHED_MAX = 128
"""Of Caddy's patterns: so many are found sooner by some hashes than by trie (docs/performance.md).

Of routes that do more it would be much code.
"""


@dataclass(frozen=True, slots=True)
class PathDispatch:
    """Consecutive routes with one path matcher each, of which at most one may run."""

    routes: tuple[tree.Route, ...]
    path: ComparedPath
    """SENT: of an Ingress; FOLDED: Caddy's patterns."""
    hashed: PathHash | None = None
    """None: found by trie."""

    @property
    def is_proxies_only(self) -> bool:
        """Whether every route is a single `reverse_proxy` that is one row and nothing else."""
        return all(len(route.handlers) == 1 and _is_one_row(route.handlers[0]) for route in self.routes)

    def fits(self, emitter: Emitter) -> bool:
        """Whether a run's constants lie where loads reach them by their offsets alone."""
        return self.hashed is None or emitter.reaches_constants(len(self.hashed.content))

    def proxies(self) -> Iterator[tree.ReverseProxy]:
        """Yield the handler of each route of a run of proxies."""
        for route in self.routes:
            handler = route.handlers[0]
            assert isinstance(handler, tree.ReverseProxy)
            yield handler

    def entries(self) -> Iterator[tuple[str, bool, int]]:
        """Yield (path, exact, position + 1) for the trie; of equal entries the first wins."""
        seen: set[tuple[str, bool]] = set()
        for value, route in enumerate(self.routes, start=1):
            match = single_path(route)
            assert match is not None
            exact = isinstance(match, tree.MatchPathExact)
            if (match.path, exact) not in seen:
                seen.add((match.path, exact))
                yield match.path, exact, value

    def patterns(self) -> Iterator[tuple[SimplePattern, int]]:
        """Yield (pattern, position + 1) for the trie of patterns."""
        for value, route in enumerate(self.routes, start=1):
            yield from ((pattern, value) for pattern in read_patterns(route) or ())


def find_path_run(
    routes: Sequence[tree.Route], index: int, done: frozenset[str], widths: Widths
) -> PathDispatch | None:
    """Return the run at `index`, or None where comparisons serve; patterns are as long as `widths` say."""
    if read_patterns(routes[index]) is not None:
        many = PathDispatch(tuple(_take_alone(routes, index, done, read_patterns)), ComparedPath.FOLDED)
        if len(many.routes) > (PROXIES_HASHED_MAX if many.is_proxies_only else PATHS_MAX):
            return many
    if single_pattern(routes[index]) is not None:
        run = tuple(islice(_take_alone(routes, index, done, single_pattern), PATHS_MAX))
        beginnings = [one.beginning() for route in run if (one := single_pattern(route)) is not None]
        return _find_hashed(run, beginnings, ComparedPath.FOLDED, widths.patterns)
    ordered = tuple(_take_longest_first(_take_alone(routes, index, done, single_path)))
    if len(ordered) > PATHS_MAX:
        return PathDispatch(ordered, ComparedPath.SENT)
    run = tuple(islice(_take_alone(routes, index, done, single_path), PATHS_MAX))
    beginnings = [read_path(match) for route in run if (match := single_path(route)) is not None]
    return _find_hashed(run, beginnings, ComparedPath.SENT, widths.paths)


def _take_alone(
    routes: Sequence[tree.Route],
    index: int,
    done: frozenset[str],
    read: Callable[[tree.Route], object | None],
) -> Iterator[tree.Route]:
    """Yield the routes from `index` on of which at most one may run, with one matcher of a kind each."""
    group = routes[index].group

    def is_alone(route: tree.Route) -> bool:
        return (
            read(route) is not None
            and route.group == group
            and route.group not in done
            and (bool(group) or answers(route))
        )

    return takewhile(is_alone, (routes[at] for at in range(index, len(routes))))


def _take_longest_first(routes: Iterable[tree.Route]) -> Iterator[tree.Route]:
    """Yield path routes as long as the first match in order is the longest one, exact before prefix."""
    before: tuple[int, bool] | None = None
    for route in routes:
        match = single_path(route)
        assert match is not None
        rank = (len(read_path(match).text), isinstance(match, tree.MatchPathExact))
        if before is not None and rank > before:
            return
        before = rank
        yield route


def _find_hashed(
    routes: tuple[tree.Route, ...],
    beginnings: Sequence[PathBeginning],
    path: ComparedPath,
    words: int | None,
) -> PathDispatch | None:
    """Return as many routes as a hash tells apart; short paths at the end, as `/`, are compared."""
    if words is None or any(len(one.text) > 8 * words for one in beginnings):
        return None
    for count in range(len(routes), PATHS_MIN - 1, -1):
        constants = hash_paths(beginnings[:count], words)
        if constants is not None:
            return PathDispatch(routes[:count], path, constants)
    return None


def find_hashed_path(emitter: Emitter, path: ComparedPath, constants: PathHash, missed: str) -> None:
    """Leave the row of the pattern that fits the path in r0, or go to `missed`."""
    if path is ComparedPath.FOLDED:
        emitter.call("fold_path")
    begin = emitter.add_constants(constants.content)
    offsets = [begin + 16 * word for word in range(constants.hashed_words)]
    emitter.hash_path(path, offsets, BUCKET_BITS)
    emitter.look_up(begin + constants.buckets_offset, constants.rows)
    columns = [begin + constants.column_offset(column) for column in range(1 + 2 * constants.words)]
    emitter.compare_row(path, columns, missed)


def single_path(route: tree.Route) -> PathMatch | None:
    """Return the route's path matcher when it is the only one."""
    match = _single_matcher(route)
    return match if isinstance(match, tree.MatchPathExact | tree.MatchPathPrefix) else None


def single_pattern(route: tree.Route) -> SimplePattern | None:
    """Return the only pattern of a route's only matcher where it is a beginning that code compares."""
    match = _single_matcher(route)
    if not isinstance(match, tree.MatchPath) or len(match.patterns) != 1:
        return None
    simple, _ = split_patterns(match.patterns)
    return next((one for one in simple if one.kind in (PatternKind.EXACT, PatternKind.PREFIX)), None)


def read_patterns(route: tree.Route) -> tuple[SimplePattern, ...] | None:
    """Return the patterns of a route's only matcher where all are paths or their beginnings."""
    match = _single_matcher(route)
    if not isinstance(match, tree.MatchPath):
        return None
    read = tuple(one for one in map(read_beginning, match.patterns) if one is not None)
    return read if 0 < len(read) == len(match.patterns) else None


def _single_matcher(route: tree.Route) -> tree.Matcher | None:
    alone = len(route.matchers) == 1 and len(route.matchers[0]) == 1
    return route.matchers[0][0] if alone else None


def _is_one_row(handler: tree.Handler) -> bool:
    return (
        isinstance(handler, tree.ReverseProxy)
        and not handler.retry_match
        and not handler.response_handlers
        and not handler.resilience.mirrors
        and not mentions_body(handler)
    )


def answers(route: tree.Route) -> bool:
    """Tell whether no later route can run after this one."""
    last = route.handlers[-1] if route.handlers else None
    if isinstance(last, tree.ReverseProxy):
        return route.terminal or not last.response_handlers
    return route.terminal or isinstance(last, tree.StaticResponse | tree.RaiseError)
