"""A lowered site answers as its route tree says; the tree is walked here in the plainest way."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle

from hypothesis import given, settings
from hypothesis import strategies as st
from zeroserve_dataplane.interpreter import Interpreter, Memory
from zeroserve_dataplane.verifier import Verified, verify
from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.program import abi
from zeroserve_ir.program.lowering import LoweredSite, lower_site

ADDRESS = (tree.SiteAddress(tree.Scheme.HTTP, "a.test", 80),)
SEGMENTS = st.sampled_from(["a", "b", "ab", "api", "a" * 7, "a" * 8, "long-segment-of-more-than-a-word"])
PATHS = st.lists(SEGMENTS, max_size=4).map(lambda parts: "/" + "/".join(parts))


@dataclass
class Rewritten:
    """What a request is and becomes while the tree is walked."""

    path: str
    method: str
    variables: list[str]


def fits(matcher: tree.Matcher, request: Rewritten) -> bool:
    match matcher:
        case tree.MatchPathExact(path=path):
            return request.path == path
        case tree.MatchPathPrefix(path=path):
            return path in ("/", request.path) or request.path.startswith(path + "/")
        case tree.MatchMethod(methods=methods):
            return request.method in methods
        case tree.MatchNot(sets=sets):
            return not any(all(fits(inner, request) for inner in matchers) for matchers in sets)
    raise AssertionError(matcher)


class EndedError(Exception):
    """A terminal route gave no answer: the request ends empty."""


def walk(routes: Sequence[tree.Route], request: Rewritten) -> str | None:
    """Return the status of the answer, or None where the list falls through."""
    done: set[str] = set()
    for route in routes:
        if route.group and route.group in done:
            continue
        if route.matchers and not any(
            all(fits(matcher, request) for matcher in matchers) for matchers in route.matchers
        ):
            continue
        done |= {route.group} if route.group else set()
        for handler in route.handlers:
            if isinstance(handler, tree.StaticResponse):
                return handler.status
            if isinstance(handler, tree.SetVariables):
                request.variables.append(handler.variables[0][1])
            if isinstance(handler, tree.Subroute) and (answer := walk(handler.routes, request)) is not None:
                return answer
        if route.terminal:
            raise EndedError
    return None


class TableHelpers:
    """The helpers that these trees use, read from the tables."""

    def __init__(self, tables: pb.Tables, request: Rewritten) -> None:
        self.tables = tables
        self.request = request

    def call(self, number: int, arguments: tuple[int, ...], memory: Memory) -> int:
        name, row = abi.BY_NUMBER[number].name, arguments[0]
        if name == "match_method":
            return int(self.request.method in self.tables.methods[row].values)
        if name == "assign_variables":
            self.request.variables.append(self.tables.assignments[row].assignments[0].value.parts[0].literal)
            return 0
        assert name == "find_path"
        return self._find_path(row)

    def _find_path(self, row: int) -> int:
        fitting = [
            (len(entry.path.rstrip("/")), entry.exact, entry.value)
            for entry in self.tables.tries[row].entries
            if fits(
                tree.MatchPathExact(entry.path) if entry.exact else tree.MatchPathPrefix(entry.path),
                self.request,
            )
        ]
        return max(fitting)[2] if fitting else 0


@functools.lru_cache(maxsize=1)
def prepare(site: tree.Site) -> tuple[LoweredSite, Verified]:
    lowered = lower_site(site)
    verified = verify(lowered.code, len(lowered.constants))
    assert isinstance(verified, Verified), verified
    return lowered, verified


def run(site: tree.Site, path: str, method: str) -> tuple[str, list[str]]:
    lowered, verified = prepare(site)
    request = Rewritten(path, method, [])
    memory = Memory(lowered.constants)
    content = path.encode()
    memory.write(abi.CONTEXT + abi.Field.PATH_LENGTH.offset, len(content).to_bytes(4, "little"))
    memory.write(abi.CONTEXT + abi.Field.PATH_BYTES.offset, content + b"/")
    outcome = Interpreter(verified, memory, TableHelpers(lowered.tables, request)).run()
    assert outcome.trap is None, outcome
    action, index = abi.Action(outcome.result & 0xFF), outcome.result >> 32
    if action is abi.Action.RESPOND:
        return lowered.tables.responses[index].status.parts[0].literal, request.variables
    return action.name, request.variables


def expected(site: tree.Site, path: str, method: str) -> tuple[str, list[str]]:
    request = Rewritten(path, method, [])
    try:
        answer = walk(site.routes, request)
    except EndedError:
        answer = None
    return answer or "EMPTY", request.variables


PATH_MATCHERS = st.builds(tree.MatchPathExact, PATHS) | st.builds(tree.MatchPathPrefix, PATHS)
MATCHERS = st.recursive(
    PATH_MATCHERS | st.builds(tree.MatchMethod, st.sampled_from([("GET",), ("POST", "PUT")])),
    lambda inner: st.builds(
        tree.MatchNot,
        st.lists(st.lists(inner, min_size=1, max_size=2).map(tuple), min_size=1, max_size=2).map(tuple),
    ),
    max_leaves=3,
)
SETS = st.lists(st.lists(MATCHERS, min_size=1, max_size=2).map(tuple), max_size=2).map(tuple)
ANSWERS = st.integers(200, 599).map(lambda status: tree.StaticResponse(str(status)))
VARIABLES = st.integers(0, 99).map(lambda value: tree.SetVariables((("v", str(value)),)))


def routes_of(handlers: st.SearchStrategy[tree.Handler]) -> st.SearchStrategy[tuple[tree.Route, ...]]:
    route = st.builds(
        tree.Route,
        handlers=st.lists(handlers, min_size=1, max_size=3).map(tuple),
        matchers=SETS,
        group=st.sampled_from(["", "", "g0", "g1"]),
        terminal=st.booleans(),
    )
    return st.lists(route, max_size=5).map(tuple)


HANDLERS = st.recursive(
    ANSWERS | VARIABLES, lambda inner: st.builds(tree.Subroute, routes_of(inner)), max_leaves=6
)


@settings(max_examples=150, deadline=None)
@given(
    routes_of(HANDLERS), st.lists(st.tuples(PATHS, st.sampled_from(["GET", "POST"])), min_size=1, max_size=6)
)
def test_program_and_tree_agree(routes: tuple[tree.Route, ...], requests: list[tuple[str, str]]) -> None:
    site = tree.Site(ADDRESS, routes)
    for path, method in requests:
        assert run(site, path, method) == expected(site, path, method)


HANDLER_LISTS = st.lists(
    ANSWERS | VARIABLES | st.builds(tree.Subroute, st.tuples(st.builds(tree.Route, st.tuples(VARIABLES)))),
    min_size=1,
    max_size=3,
).map(tuple)
SAMPLES = st.builds(tree.Route, HANDLER_LISTS, group=st.sampled_from(["", "routes"]), terminal=st.booleans())


@settings(max_examples=20, deadline=None)
@given(
    st.lists(PATH_MATCHERS, min_size=33, max_size=60, unique=True),
    st.lists(PATH_MATCHERS, max_size=8),
    st.lists(PATHS, min_size=1, max_size=5),
    st.lists(SAMPLES, min_size=1, max_size=4),
)
def test_many_sorted_paths_agree_by_trie(
    matchers: list[tree.Matcher],
    unsorted: list[tree.Matcher],
    paths: list[str],
    samples: list[tree.Route],
) -> None:
    """Routes are those of the samples by turns, every second one with an answer of its own."""

    def rank(matcher: tree.Matcher) -> tuple[int, bool]:
        assert isinstance(matcher, tree.MatchPathExact | tree.MatchPathPrefix)
        return -len(matcher.path.rstrip("/")), isinstance(matcher, tree.MatchPathPrefix)

    routes = tuple(
        replace(
            sample,
            handlers=(*sample.handlers, *[tree.StaticResponse(str(200 + number))] * (number % 2)),
            matchers=((matcher,),),
            group=samples[0].group,
            terminal=sample.terminal or not samples[0].group,
        )
        for number, (matcher, sample) in enumerate(
            zip((*sorted(matchers, key=rank), *unsorted), cycle(samples), strict=False)
        )
    )
    site = tree.Site(ADDRESS, routes)
    for path in [*paths, *(matcher.path for matcher in (*matchers[:5], *unsorted))]:
        assert run(site, path, "GET") == expected(site, path, "GET")


NAMES = st.text("abc", min_size=1, max_size=20)
LONG_PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(LONG_PATHS, min_size=8, max_size=32, unique=True),
    st.lists(st.booleans(), min_size=32, max_size=32),
    st.lists(LONG_PATHS, min_size=1, max_size=5),
    st.sampled_from(["", "routes"]),
)
def test_some_paths_agree_by_hash(
    prefixes: list[str], exact: list[bool], paths: list[str], group: str
) -> None:
    kinds = [tree.MatchPathExact if is_exact else tree.MatchPathPrefix for is_exact in exact]
    matchers = [kind(path) for kind, path in zip(kinds, prefixes, strict=False)]
    routes = tuple(
        tree.Route(
            (VARIABLE, tree.StaticResponse(str(200 + number % 300))),
            ((matcher,),),
            group=group,
            terminal=True,
        )
        for number, matcher in enumerate([*matchers, tree.MatchPathPrefix("/")])
    )
    site = tree.Site(ADDRESS, routes)
    for path in [
        "/",
        *paths,
        *prefixes,
        *(f"{path}/x" for path in prefixes),
        *(path[:-1] for path in prefixes),
    ]:
        assert run(site, path, "GET") == expected(site, path, "GET")


VARIABLE = tree.SetVariables((("v", "1"),))
