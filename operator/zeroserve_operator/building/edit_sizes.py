"""Size: a host whose program would be too large is served without those whose header fields make it so.

In: the model of one host. Out: it, its sites and their resources. Rule: paths share a program, and nobody's
snippet closes the paths of others: the Ingress that has most of what snippets ask for closes first, of
equals the youngest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from zeroserve_ir import tree
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.model import Denial, PathRoute
from zeroserve_ir.program import abi
from zeroserve_ir.sources import Origin

from zeroserve_operator.building.virtual_hosts import BuiltHost
from zeroserve_operator.drafting import DraftedHost, draft_host
from zeroserve_operator.rendering import render_host
from zeroserve_operator.rendering_header_edits import count_edits
from zeroserve_operator.settings import BuildSettings

EDITS_MAX: Final = abi.INSTRUCTIONS_MAX
"""Steps of a host that edit header fields; each has several instructions, so that more are not even tried."""
_PROBLEM: Final = (
    "header fields of its snippets, times its paths, make the host's program too large: its routes answer 503"
)


@dataclass(frozen=True, slots=True)
class FittedHost:
    """A host, of which routes may be closed, and what is published."""

    built: BuiltHost
    sites: tuple[tree.Site, ...]
    drafted: DraftedHost


def fit_host(built: BuiltHost, settings: BuildSettings) -> FittedHost:
    """Render and lower a host; where it is too large, again with fewer header edits."""
    edits = _count(built)
    built, edits = _close(built, edits, EDITS_MAX)
    while True:
        sites = render_host(built.host, settings) if built.host else ()
        drafted = draft_host(sites, settings)
        if not edits or all(item.code is not Code.ZS0602 for item in drafted.diagnostics):
            return FittedHost(built, sites, drafted)
        built, edits = _close(built, edits, edits.total() // 2)


def _count(built: BuiltHost) -> Counter[Origin]:
    """Count the steps of each object; routes that differ in their paths alone have them in common."""
    distinct: dict[Origin, set[PathRoute]] = {}
    routes: Sequence[PathRoute] = built.host.routes if built.host else ()
    for route in routes:
        if route.header_edits is not None and route.denial is None:
            alike = route if route.rewrite else replace(route, rule=routes[0].rule)
            distinct.setdefault(route.origin.at(""), set()).add(alike)
    return Counter({owner: sum(map(_count_steps, alike)) for owner, alike in distinct.items()})


def _count_steps(route: PathRoute) -> int:
    return count_edits(route.header_edits) if route.header_edits is not None else 0


def _close(built: BuiltHost, edits: Counter[Origin], steps_max: int) -> tuple[BuiltHost, Counter[Origin]]:
    """Close the objects with most steps until no more than `steps_max` are left."""
    if built.host is None or edits.total() <= steps_max:
        return built, edits
    ages: Mapping[Origin, int] = {origin: age for age, origin in enumerate(built.host.origins)}
    left = Counter(edits)
    closed = set()
    for owner in sorted(edits, key=lambda one: (-edits[one], -ages.get(one, 0))):
        if left.total() > steps_max:
            closed.add(owner)
            del left[owner]
    denial = Denial(f"{Code.ZS0602.name}: {_PROBLEM}")
    routes = tuple(
        replace(route, denial=denial) if route.denial is None and route.origin.at("") in closed else route
        for route in built.host.routes
    )
    cure = "set fewer header fields, or spread the paths over several hosts"
    found = [
        Diagnostic(Code.ZS0602, _PROBLEM, origin=owner.at("metadata.annotations"), help=cure)
        for owner in sorted(closed, key=str)
    ]
    host = replace(built.host, routes=routes)
    return replace(built, host=host, diagnostics=(*built.diagnostics, *found)), left
