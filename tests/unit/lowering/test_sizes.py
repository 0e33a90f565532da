"""Sites that are too large for a program say so, however large they are."""

import pytest
from zeroserve_ir import tree
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import DiagnosticError
from zeroserve_ir.program.lowering import lower_site

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
