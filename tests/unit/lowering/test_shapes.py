"""Sites of one shape share code; what differs is constants and tables."""

from collections.abc import Callable

import pytest
from zeroserve_ir import tree
from zeroserve_ir.program.lowering import LoweredSite, lower_site
from zeroserve_ir.sources import NOWHERE, Origin
from zeroserve_ir.tree_files import MatchFile
from zeroserve_ir.tree_traffic import LimitConcurrency

ADDRESS = (tree.SiteAddress(tree.Scheme.HTTPS, "a.test", 443),)


def proxy(number: int) -> tree.ReverseProxy:
    return tree.ReverseProxy((tree.Upstream(f"10.0.0.{number}:80"),))


def site(*paths: str) -> tree.Site:
    routes = [
        tree.Route((proxy(number),), ((tree.MatchPathPrefix(path),),)) for number, path in enumerate(paths)
    ]
    return tree.Site(ADDRESS, tuple(routes))


def lower(*paths: str) -> LoweredSite:
    return lower_site(site(*paths))


def test_other_paths_of_one_width_give_the_same_code() -> None:
    one, other = lower("/api/v1", "/api", "/"), lower("/orders/7", "/b", "/")
    assert one.code == other.code
    assert one.constants != other.constants


def test_an_exact_path_has_the_code_of_a_prefix() -> None:
    exact = tree.Site(ADDRESS, (tree.Route((proxy(0),), ((tree.MatchPathExact("/a"),),)),))
    assert lower_site(exact).code == lower("/a").code


def test_longer_paths_widen_every_comparison_of_the_site() -> None:
    assert lower("/" + "x" * 14).code == lower("/x").code
    assert lower("/" + "x" * 15).code != lower("/x").code


def raise_error(status: str) -> tree.Handler:
    return tree.RaiseError(status=status)


def match_file_or_raise(status: str) -> tree.Handler:
    matcher = MatchFile(("{path}", f"={status}"))
    return tree.Subroute((tree.Route((proxy(0),), ((matcher,),)),))


@pytest.mark.parametrize("make_handler", [raise_error, match_file_or_raise])
def test_the_status_of_an_error_is_a_constant(make_handler: Callable[[str], tree.Handler]) -> None:
    one, other = (
        lower_site(tree.Site(ADDRESS, (tree.Route((make_handler(status),)),))) for status in ("403", "503")
    )
    assert one.code == other.code
    assert one.constants != other.constants


def test_another_number_of_routes_is_another_shape() -> None:
    assert lower("/a", "/b").code != lower("/a").code


def test_paths_that_a_hash_tells_apart_need_no_comparison_each() -> None:
    few = lower(*(f"/p{number:02d}" for number in range(17)))
    many = lower(*(f"/other/p{number}" for number in range(32)))
    assert few.code == many.code
    assert not many.tables.tries
    assert len(few.code) < len(lower("/a", "/b", "/c", "/d", "/e").code)


def test_short_paths_at_the_end_are_compared_after_the_hash() -> None:
    paths = [f"/p{number:02d}" for number in range(17)]
    assert lower(*paths, "/p", "/").constants.startswith(lower(*paths).constants)


def test_paths_of_which_two_may_fit_are_compared_in_order() -> None:
    nested = lower(*("/a" * number for number in range(20, 0, -1)))
    assert len(nested.code) > len(lower(*(f"/p{number:02d}" for number in range(20))).code)


def test_more_than_32_paths_are_found_by_trie_at_constant_size() -> None:
    few = lower(*(f"/p{number:04d}" for number in range(33)))
    many = lower(*(f"/p{number:04d}" for number in range(5000)))
    assert few.code == many.code
    assert len(many.tables.tries[0].entries) == 5000


def test_a_cluster_is_named_by_its_upstreams_and_shared() -> None:
    lowered = lower_site(
        tree.Site(
            ADDRESS,
            (
                tree.Route((proxy(1),), ((tree.MatchPathPrefix("/a"),),)),
                tree.Route((proxy(1),), ((tree.MatchPathPrefix("/b"),),)),
            ),
        )
    )
    assert [cluster.name for cluster in lowered.clusters] == ["static:10.0.0.1:80"]
    assert [source.name for source in lowered.endpoints] == ["static:10.0.0.1:80"]


def test_a_cluster_with_its_own_timeouts_has_a_name_of_its_own() -> None:
    handler = tree.ReverseProxy(
        (tree.Upstream("10.0.0.1:80"),), transport=tree.HttpTransport(read_timeout_ms=5)
    )
    (cluster,) = lower_site(tree.Site(ADDRESS, (tree.Route((handler,)),))).clusters
    assert cluster.name.startswith("static:10.0.0.1:80#")


def test_constants_of_routes_that_nothing_reaches_are_left_out() -> None:
    unreachable = tuple(
        tree.Route((tree.StaticResponse("200"),), ((tree.MatchPath((f"/{number}/*",)),),))
        for number in range(40)
    )
    always = tree.Route((proxy(0),))
    one, other = (lower_site(tree.Site(ADDRESS, (always, *rest))) for rest in (unreachable, ()))
    assert one.code == other.code
    assert one.make_program() == other.make_program()
    assert len(one.constants) == len(other.constants)


@pytest.mark.parametrize("count", [10, 40])
def test_equal_limits_of_two_namespaces_are_each_ones_own(count: int) -> None:
    limit = tree.LimitRate((tree.RateZone("all", "{http.request.host}", 5, 1_000),))
    routes = tuple(
        tree.Route(
            (limit, tree.RaiseError("403")),
            ((tree.MatchPath((f"/app{number}/*",)),),),
            span=NOWHERE._replace(origin=Origin("ZeroserveRoute", ("shop", "blog")[number % 2], "routes")),
        )
        for number in range(count)
    )
    lowered = lower_site(tree.Site(ADDRESS, routes))
    assert {one.tenant for one in lowered.tables.rate_limits} == {"shop", "blog"}


@pytest.mark.parametrize("count", [10, 40])
def test_routes_with_equal_concurrency_have_places_of_their_own(count: int) -> None:
    handlers = (LimitConcurrency(1, "{http.request.host}"), proxy(1))
    nested = (tree.Subroute((tree.Route(handlers),)),)
    routes = tuple(
        tree.Route((handlers, nested)[number % 2], ((tree.MatchPath((f"/app{number}/*",)),),))
        for number in range(count)
    )
    lowered = lower_site(tree.Site(ADDRESS, routes))
    assert len(lowered.tables.concurrencies) == count
