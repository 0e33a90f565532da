"""Sites that are too large, found without serving them.

In: a configuration without errors. Out: what `lower_site` says of the size of each site. Called by
`zeroserve validate`. Rule: sites that equal each other but for their constants are judged each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from zeroserve_ir import tree
from zeroserve_ir.caddyfile.invoking import expand_named_routes
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, DiagnosticError
from zeroserve_ir.program.lowering import lower_site

_OF_SIZES: Final = frozenset({Code.ZS0202, Code.ZS0602})


def find_oversized(configuration: tree.Configuration) -> Iterator[Diagnostic]:
    """Yield what is wrong with the sizes of sites; whatever else is, others tell."""
    for site in expand_named_routes(configuration).sites:
        try:
            lower_site(site)
        except DiagnosticError as error:
            yield from (item for item in error.diagnostics if item.code in _OF_SIZES)
