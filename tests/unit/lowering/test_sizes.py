"""Sites that are too large for a program say so, however large they are."""

from collections.abc import Callable

import pytest
from zeroserve_dataplane.verifier import Verified, verify
from zeroserve_ir import tree
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import DiagnosticError
from zeroserve_ir.program.lowering import lower_site
from zeroserve_ir.program.sizes import PATTERNS_BYTES_MAX
from zeroserve_ir.regular_expressions import weigh_pattern
from zeroserve_ir.tree_files import FileServer

LARGE = "(.*)a{}.{{1000}}.{{1000}}.{{300}}"
FITTING = PATTERNS_BYTES_MAX // weigh_pattern(LARGE.format(10))
ADDRESS = (tree.SiteAddress(tree.Scheme.HTTPS, "a.test", 443),)


@pytest.mark.parametrize("routes", [1_000, 20_000])
def test_a_site_that_is_too_large_is_refused(routes: int) -> None:
    many = tuple(
        tree.Route((tree.RaiseError("403"),), ((tree.MatchMethod((f"M{number}",)),),))
        for number in range(routes)
    )
    with pytest.raises(DiagnosticError) as raised:
        lower_site(tree.Site(ADDRESS, many))
    assert [item.code for item in raised.value.diagnostics] == [Code.ZS0602]


def test_many_paths_are_found_at_once_as_far_as_the_longest_come_first() -> None:
    proxy = tree.ReverseProxy((tree.Upstream("10.0.0.1:80"),))
    ascending = tuple(
        tree.Route((proxy,), ((tree.MatchPathPrefix(f"/x{number}"),),)) for number in range(2_000)
    )
    lowered = lower_site(tree.Site(ADDRESS, ascending))
    assert [len(trie.entries) for trie in lowered.tables.tries] == [68, 900, 1_000]


MANY_HANDLERS: dict[str, Callable[[int], tuple[tree.Handler, ...]]] = {
    "redir": lambda number: (tree.StaticResponse("301", headers=(("Location", f"/new/{number}"),)),),
    "reverse_proxy": lambda number: (tree.ReverseProxy((tree.Upstream(f"10.0.0.1:{number}"),)),),
    "handle_path": lambda number: (
        tree.Subroute(
            (
                tree.Route((tree.Rewrite(strip_path_prefix=f"/old/{number}"),)),
                tree.Route((tree.ReverseProxy((tree.Upstream(f"10.0.0.1:{number}"),)),)),
            )
        ),
    ),
    "file_server": lambda number: (
        tree.SetVariables((("root", f"/srv/{number}"),)),
        tree.Headers(response=tree.HeaderOperations(set=(("X-Number", str(number)),))),
        FileServer(),
    ),
}


@pytest.mark.parametrize("handlers", MANY_HANDLERS.values(), ids=MANY_HANDLERS)
@pytest.mark.parametrize("explained", [False, True])
def test_routes_that_do_alike_with_thousands_of_paths_are_little_code(
    handlers: Callable[[int], tuple[tree.Handler, ...]], explained: bool
) -> None:
    routes = tuple(
        tree.Route(handlers(number), ((tree.MatchPath((f"/old/{number}*",)),),), group="pages")
        for number in range(1, 10_001)
    )
    lowered = lower_site(tree.Site(ADDRESS, routes), explained=explained)
    assert len(lowered.code) < 64 * 8
    assert isinstance(verify(lowered.code, len(lowered.constants)), Verified)


@pytest.mark.parametrize("routes", [65_536, 65_537])
def test_a_table_has_as_many_rows_as_the_abi_says(routes: int) -> None:
    handlers = MANY_HANDLERS["redir"]
    many = tree.Site(
        ADDRESS,
        tuple(
            tree.Route(handlers(number), ((tree.MatchPath((f"/old/{number}",)),),))
            for number in range(routes)
        ),
    )
    if routes == 65_536:
        assert len(lower_site(many).tables.responses) == routes
        return
    with pytest.raises(DiagnosticError) as raised:
        lower_site(many)
    (found,) = raised.value.diagnostics
    assert (found.code, "responses are 65537" in found.message) == (Code.ZS0602, True)


@pytest.mark.parametrize(
    "handler",
    [
        lambda pattern: tree.Rewrite(path_regexp=((pattern, ""),)),
        lambda pattern: tree.Rewrite(query_replace=(tree.HeaderReplacement("x", pattern, ""),)),
        lambda pattern: tree.MapValues("{path}", ("{v}",), (tree.Mapping(pattern, ("",), regexp=True),)),
    ],
    ids=["path", "query", "map"],
)
def test_patterns_that_could_fill_the_engine_together_are_refused_wherever_they_stand(handler):
    patterns = [LARGE.format(number) for number in range(10, 11 + FITTING)]
    lower_site(tree.Site(ADDRESS, (tree.Route(tuple(map(handler, patterns[1:]))),)))
    with pytest.raises(DiagnosticError) as raised:
        lower_site(tree.Site(ADDRESS, (tree.Route(tuple(map(handler, patterns))),)))
    (found,) = raised.value.diagnostics
    assert (found.code, f"{FITTING + 1} regular expressions" in found.message) == (Code.ZS0202, True)


def test_a_pattern_counts_once_for_a_host():
    routes = tuple(
        tree.Route((tree.RaiseError("403"),), ((tree.MatchPathRegexp(LARGE.format(10)),),))
        for _ in range(4 * FITTING)
    )
    lower_site(tree.Site(ADDRESS, routes))


def test_groups_weigh_as_much_as_the_places_that_a_search_copies():
    assert weigh_pattern("([ab]?)" * 2000) > 100 * weigh_pattern("(?:[ab]?)" * 2000)


@pytest.mark.parametrize("longest", [0, 600])
def test_routes_that_differ_in_their_handlers_take_no_more_code_together(longest: int) -> None:
    def headers(count: int) -> tuple[tree.Handler, ...]:
        return tuple(
            tree.Headers(response=tree.HeaderOperations(set=((f"X-{number}", "1"),)))
            for number in range(count)
        )

    routes = tuple(
        tree.Route(
            (*headers(longest if number == 7 and longest else number), tree.StaticResponse("200")),
            ((tree.MatchPath((f"/p{number}/*",)),),),
        )
        for number in range(50)
    )
    lowered = lower_site(tree.Site(ADDRESS, routes))
    alone = sum(2 * len(route.handlers) for route in routes)
    assert len(lowered.code) // 8 < alone + 300
