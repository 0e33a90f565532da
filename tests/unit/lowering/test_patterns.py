"""Patterns of Caddy's `path` that are compared in code mean what the helper `match_path` says of them.

Each site is lowered twice, once with every pattern left to the helper; both programs run in the engine,
interpreted and as native code, and must decide alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zeroserve_dataplane.jit.emitting import emit
from zeroserve_dataplane.jit.inspecting import execute
from zeroserve_dataplane.jit.targets import Tier, find_host_target
from zeroserve_dataplane.jit.translating import translate
from zeroserve_dataplane.marking import mark_loads
from zeroserve_dataplane.verifier import Exposure, Verified, verify
from zeroserve_engine import find_binary
from zeroserve_ir import tree
from zeroserve_ir._pb import execution_pb2, resources_pb2
from zeroserve_ir.program import abi, dispatching, matching
from zeroserve_ir.program.disassembling import disassemble
from zeroserve_ir.program.lowering import FIRST_RESUME_ENTRY, LoweredSite, lower_site
from zeroserve_ir.program.patterns import PatternKind, SimplePattern, read_pattern
from zeroserve_ir.tree_traffic import InjectFault

APP = tree.MatchPath(("/app/*",))
ADDRESS = (tree.SiteAddress(tree.Scheme.HTTP, "a.test", 80),)


def site(*matchers: tree.Matcher) -> tree.Site:
    """Route number n answers with status 200 + n."""
    return tree.Site(
        ADDRESS,
        tuple(
            tree.Route((tree.StaticResponse(str(200 + number)),), ((matcher,),))
            for number, matcher in enumerate(matchers)
        ),
    )


def lower_by_helper(lowered: tree.Site) -> LoweredSite:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "PATTERN_SLOTS_MAX", 0)
        patch.setattr(dispatching, "PATHS_MAX", 0)
        patch.setattr(dispatching, "read_patterns", lambda route: None)
        return lower_site(lowered)


def run(lowered: LoweredSite, targets: Sequence[str], entry: int = 0) -> list[tuple[int, str]]:
    """Return r0 and trap of each request, interpreted and then by native code."""
    verified = verify(lowered.code, len(lowered.constants))
    assert isinstance(verified, Verified), verified
    images = [(mark_loads(verified), 0, "ebpf")]
    if (native := find_host_target()) is not None:
        made = emit(translate(verified), native, Tier.FAST)
        images.append((made.text, made.entry, native.value))
    outcomes = execute(
        [str(find_binary())],
        [
            execution_pb2.Execution(
                image=resources_pb2.Image(
                    abi=abi.ABI_VERSION,
                    target=name,
                    entry=start,
                    code_bytes=len(code),
                    constants_bytes=len(lowered.constants),
                    reads_folded_path=lowered.program.reads_folded_path,
                ),
                code=code,
                constants=lowered.constants,
                tables=lowered.tables,
                entry=entry,
                request=execution_pb2.RequestHead(
                    method="GET",
                    target=target,
                    scheme="http",
                    http_minor=1,
                    fields=[execution_pb2.Field(name="Host", value=b"a.test")],
                ),
            )
            for code, start, name in images
            for target in targets
        ],
    )
    return [(outcome.result, outcome.trap) for outcome in outcomes]


def find_statuses(lowered: LoweredSite, targets: Sequence[str], entry: int = 0) -> list[str]:
    """The answers of the interpreted program; native code must give the same."""
    results = run(lowered, targets, entry)
    assert results[: len(targets)] * (len(results) // len(targets)) == results
    rows = [
        result >> 32 if result & 0xFF == abi.Action.RESPOND else None for result, _ in results[: len(targets)]
    ]
    return ["" if row is None else lowered.tables.responses[row].status.parts[0].literal for row in rows]


LETTERS = st.sampled_from(["a", "B", "api", "App", ".php", ".", "x-y", "é", "abcdefgh", "q" * 70])
WILD = st.sampled_from(["*", "?", "[a-c]", "\\", "%41", "%2f", "//", "{http.request.method}", "{", ""])
PATTERNS = st.lists(LETTERS | st.just("/") | WILD, max_size=4).map("".join) | st.builds(
    "{}{}{}".format, st.sampled_from(["/", "*", ""]), LETTERS, st.sampled_from(["/*", "*", "", "/"])
)
SEGMENTS = st.sampled_from(
    ["a", "b", "B", "API", "app", "x-y", "%C3%89", "%61", "%41pp", ".php", "index.PHP", "abcdefgh", "q" * 70]
)
TARGETS = st.lists(SEGMENTS, max_size=5).map(lambda parts: "/" + "/".join(parts)) | st.sampled_from(
    ["/a/", "/api/", "/APP/x", "/ab", "/%61/./b", "/" + "q" * 70 + "/", "/" + "w" * 300 + ".php"]
)
PATH_MATCHERS = st.lists(PATTERNS, min_size=1, max_size=3).map(lambda texts: tree.MatchPath(tuple(texts)))
MATCHERS = PATH_MATCHERS | st.builds(lambda inner: tree.MatchNot(((inner,),)), PATH_MATCHERS)
STEPS: st.SearchStrategy[tree.Handler] = st.sampled_from(
    [
        tree.SetVariables((("v", "1"),)),
        tree.Rewrite(strip_path_prefix="/a"),
        tree.Rewrite(uri="/API{http.request.uri.path}"),
        tree.StaticResponse("299"),
    ]
)


def routes_of(handlers: st.SearchStrategy[tree.Handler]) -> st.SearchStrategy[tuple[tree.Route, ...]]:
    route = st.builds(
        tree.Route,
        handlers=st.lists(handlers, min_size=1, max_size=2).map(tuple),
        matchers=st.lists(st.lists(MATCHERS, min_size=1, max_size=2).map(tuple), max_size=2).map(tuple),
        group=st.sampled_from(["", "", "g0"]),
        terminal=st.booleans(),
    )
    return st.lists(route, min_size=1, max_size=4).map(tuple)


@settings(max_examples=60, deadline=None)
@given(
    routes_of(st.recursive(STEPS, lambda inner: st.builds(tree.Subroute, routes_of(inner)), max_leaves=5)),
    st.lists(TARGETS, min_size=1, max_size=6),
)
def test_compared_patterns_decide_as_the_helper(routes: tuple[tree.Route, ...], targets: list[str]) -> None:
    numbered = tuple(
        tree.Route(
            (*route.handlers, tree.StaticResponse(str(300 + number))),
            route.matchers,
            route.group,
            route.terminal,
        )
        for number, route in enumerate(routes)
    )
    lowered = tree.Site(ADDRESS, numbered)
    assert run(lower_site(lowered), targets) == run(lower_by_helper(lowered), targets)


@settings(max_examples=60, deadline=None)
@given(st.lists(PATH_MATCHERS, min_size=1, max_size=8), st.lists(TARGETS, min_size=1, max_size=8))
def test_the_first_matcher_that_fits_is_the_helpers(
    matchers: list[tree.MatchPath], targets: list[str]
) -> None:
    compared, helped = lower_site(site(*matchers)), lower_by_helper(site(*matchers))
    assert find_statuses(compared, targets) == find_statuses(helped, targets)


NAMES = st.text("abAB/-", min_size=1, max_size=12).map("/{}".format)
BEGINNINGS = st.lists(NAMES | NAMES.map("{}*".format), min_size=8, max_size=40, unique_by=str.lower)


@settings(max_examples=100, deadline=None)
@given(BEGINNINGS, st.data())
def test_patterns_that_a_hash_tells_apart_are_the_helpers(beginnings: list[str], data: st.DataObject) -> None:
    """Whatever their order and however many: one after another where two fit the same path."""
    near = st.sampled_from(beginnings).map(lambda text: text.rstrip("*"))
    ends = st.sampled_from(["", "/", "x", "/index.html", "%41"])
    targets = data.draw(st.lists(st.builds("{}{}".format, near, ends) | NAMES, min_size=1, max_size=8))
    lowered = site(*(tree.MatchPath((pattern,)) for pattern in beginnings))
    assert find_statuses(lower_site(lowered), targets) == find_statuses(lower_by_helper(lowered), targets)


LONG_NAMES = st.builds("{}{}".format, NAMES, st.sampled_from(["", "", "q" * 70]))
MANY = st.lists(LONG_NAMES | LONG_NAMES.map("{}*".format), min_size=27, max_size=80)


@settings(max_examples=100, deadline=None)
@given(MANY, st.integers(1, 3), st.data())
def test_many_patterns_in_any_order_are_the_helpers(
    patterns: list[str], together: int, data: st.DataObject
) -> None:
    near = st.sampled_from(patterns).map(lambda text: text.rstrip("*"))
    ends = st.sampled_from(["", "/", "x", "/index.html", "%41"])
    targets = data.draw(st.lists(st.builds("{}{}".format, near, ends) | NAMES, min_size=1, max_size=8))
    grouped = [patterns[at : at + together] for at in range(0, len(patterns), together)]
    asked = site(*(tree.MatchPath(tuple(some)) for some in grouped))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatching, "PATHS_MAX", 8)
        found = lower_site(asked)
    assert find_statuses(found, targets) == find_statuses(lower_by_helper(asked), targets)


def test_paths_of_a_long_list_are_found_by_one_call() -> None:
    lowered = lower_site(site(*(tree.MatchPath((f"/App{number:03}/*",)) for number in range(300))))
    assert disassemble(lowered.code).count("call") == 1
    assert find_statuses(lowered, ["/app000/", "/app031/x", "/APP032/", "/app299/x", "/app300/x"]) == [
        "200", "231", "232", "499", "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "fitting", "missed"),
    [
        ("/app/*", ["/app/", "/APP/x", "/%61pp/x"], ["/app", "/", "/apple"]),
        ("/App", ["/app", "/aPP"], ["/app/", "/ap", "/appl"]),
        ("/app*", ["/app", "/apple", "/app/x"], ["/ap", "/x/app"]),
        ("*.php", ["/index.PHP", "/.php", "/a/b.php"], ["/index.phpx", "/php"]),
        ("*", ["/", "/any"], []),
        ("/" + "q" * 63, ["/" + "Q" * 63], ["/" + "q" * 62, "/" + "q" * 64]),
    ],
)
def test_simple_patterns_are_compared_without_a_helper(
    pattern: str, fitting: list[str], missed: list[str]
) -> None:
    lowered = lower_site(site(tree.MatchPath((pattern,))))
    assert "match_path" not in disassemble(lowered.code)
    assert find_statuses(lowered, fitting) == ["200"] * len(fitting)
    assert find_statuses(lowered, [*missed, "/" + pattern * 0 + "none"])[: len(missed)] == [""] * len(missed)


@pytest.mark.parametrize(
    "pattern",
    ["/a/*/b", "/a?", "/[ab]", "*mid*", "/%2f", "/a//b", "/é", "/{http.request.method}", "/" + "q" * 64],
)
def test_other_patterns_are_the_helpers(pattern: str) -> None:
    assert "call match_path" in disassemble(lower_site(site(tree.MatchPath((pattern,)))).code)


def test_the_path_is_folded_once_for_a_run_of_routes() -> None:
    matchers = [tree.MatchPath((f"/app{number}/*",)) for number in range(20)]
    lowered = lower_site(rewritten_before(site(*matchers)))
    assert disassemble(lowered.code).count("call fold_path") == 1
    assert not lowered.program.reads_folded_path


def rewritten_before(before: tree.Site) -> tree.Site:
    return tree.Site(ADDRESS, (tree.Route((tree.Rewrite(strip_path_prefix="/x"),)), *before.routes))


def test_a_path_that_nothing_changes_is_folded_before_the_program_begins() -> None:
    lowered = lower_site(site(*(tree.MatchPath((f"/app{number}/*", f"/b{number}")) for number in range(20))))
    assert "call" not in disassemble(lowered.code)
    assert lowered.program.reads_folded_path
    verified = verify(lowered.code, len(lowered.constants))
    assert isinstance(verified, Verified) and verified.exposure is Exposure.DETACHED


def test_the_path_is_folded_where_a_program_goes_on_after_a_pause() -> None:
    routes = (tree.Route((InjectFault(delay_ms=1, delays_in_million=1_000_000),)), *site(APP).routes)
    lowered = lower_site(tree.Site(ADDRESS, routes))
    assert lowered.program.reads_folded_path
    assert find_statuses(lowered, ["/APP/x", "/other"], entry=FIRST_RESUME_ENTRY) == ["200", ""]


def test_a_rewritten_path_is_folded_again() -> None:
    matcher = ((tree.MatchPath(("/new",)),),)
    lowered = lower_site(
        tree.Site(
            ADDRESS,
            (
                tree.Route((tree.Rewrite(uri="/new"),), ((tree.MatchPath(("/old",)),),)),
                tree.Route((tree.StaticResponse("200"),), matcher),
            ),
        )
    )
    assert find_statuses(lowered, ["/old", "/new", "/other"]) == ["200", "200", ""]


def test_what_exceeds_the_share_of_a_program_is_the_helpers() -> None:
    lowered = lower_site(site(*(tree.MatchPath((f"/app{number}/*", "*.b")) for number in range(300))))
    text = disassemble(lowered.code)
    assert 0 < text.count("call match_path") < 300
    assert find_statuses(lowered, ["/app0/x", "/app299/x", "/app300/x"]) == ["200", "499", ""]


def test_sites_of_other_patterns_share_code() -> None:
    one = lower_site(site(tree.MatchPath(("/a/*",)), tree.MatchPath(("*.php",))))
    other = lower_site(site(tree.MatchPath(("/orders",)), tree.MatchPath(("*.css",))))
    assert one.code == other.code


@given(PATTERNS)
def test_what_a_simple_pattern_holds_is_in_lower_case(pattern: str) -> None:
    simple = read_pattern(pattern)
    assert simple is None or (simple.text == simple.text.lower() and b"*" not in simple.text)


def test_patterns_are_read_by_their_stars() -> None:
    assert read_pattern("*.PHP") == SimplePattern(PatternKind.SUFFIX, b".php")
    assert read_pattern("/Api/*") == SimplePattern(PatternKind.PREFIX, b"/api/")
    assert read_pattern("/Api") == SimplePattern(PatternKind.EXACT, b"/api")
    assert read_pattern("*") == SimplePattern(PatternKind.ANY, b"")


@pytest.mark.parametrize("count", [10, 40, 140])
def test_each_of_many_calls_with_a_mirror_is_its_own(count: int) -> None:
    mirrored = tree.Resilience(mirrors=(tree.Mirror(tree.Upstream("10.0.1.1:80")),))
    routes = tuple(
        tree.Route(
            (tree.ReverseProxy((tree.Upstream(f"10.0.0.{number}:80"),), resilience=mirrored),),
            ((tree.MatchPath((f"/app{number:03}/*",)),),),
        )
        for number in range(count)
    )
    lowered = lower_site(tree.Site(ADDRESS, routes))
    results = run(lowered, [f"/app{number:03}/" for number in range(count)])[:count]
    clusters = [lowered.tables.proxies[result >> 32].cluster for result, _ in results]
    endpoints = {cluster.name: cluster.endpoints for cluster in lowered.clusters}
    assert ["10.0.0." in endpoints[name] for name in clusters] == [True] * count
    assert len({*clusters}) == count
