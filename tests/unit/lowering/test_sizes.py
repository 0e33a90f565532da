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
