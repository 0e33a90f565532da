"""Sizes: what one host may cost its node, in code, constants and regular expressions.

In: what a site was lowered to. Out: nothing, or a `DiagnosticError` that says what is too much. Called by
`lowering`. Rule: a pattern counts once for a host, however often it is named; the engine shares equal ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, DiagnosticError
from zeroserve_ir.program import abi
from zeroserve_ir.regular_expressions import PatternError, weigh_pattern

PATTERNS_BYTES_MAX: Final = 128 << 20
"""For all patterns of a host: 10,000 ordinary ones, or twenty of the largest that are taken at all."""


def check_size(site: tree.Site, instructions: int, constants: int) -> None:
    """Refuse a program beyond the ABI's limits (ZS0602)."""
    if instructions > abi.INSTRUCTIONS_MAX or constants > abi.CONSTANTS_BYTES_MAX:
        message = (
            f"the site's program needs {instructions} instructions and {constants} bytes of constants, "
            f"at most {abi.INSTRUCTIONS_MAX} and {abi.CONSTANTS_BYTES_MAX} are allowed"
        )
        raise _refuse(site, Code.ZS0602, message, "spread the routes over several hosts")


def check_rows(site: tree.Site, tables: pb.Tables) -> None:
    """Refuse tables beyond the ABI's limit (ZS0602): rows are data, thousands of routes need little code.

    Steps are no user's: they are there where a program is explained.
    """
    table, rows = max(
        (
            (kind.name, len(rows))
            for kind, rows in tables.ListFields()
            if not isinstance(rows, str) and kind.name != "steps"
        ),
        key=lambda found: found[1],
        default=("", 0),
    )
    if rows > abi.TABLE_ROWS_MAX:
        message = f"the site's {table.replace('_', ' ')} are {rows}, at most {abi.TABLE_ROWS_MAX} are allowed"
        raise _refuse(site, Code.ZS0602, message, "spread the routes over several hosts")


def check_patterns(site: tree.Site, tables: pb.Tables, clusters: Iterable[pb.Cluster]) -> None:
    """Refuse patterns that together could fill the engine's memory (ZS0202)."""
    weights = {pattern: _weigh(pattern) for pattern in _patterns_of(tables, clusters) if pattern}
    total = sum(weights.values())
    if total <= PATTERNS_BYTES_MAX:
        return
    heaviest = max(weights, key=lambda pattern: (weights[pattern], pattern))
    shown = heaviest if len(heaviest) <= 60 else f"{heaviest[:60]}…"
    message = (
        f"the site's {len(weights)} regular expressions need {total >> 20} MiB in the engine, at most "
        f"{PATTERNS_BYTES_MAX >> 20} are allowed; {shown} needs {weights[heaviest] >> 20}"
    )
    cure = "repeat less, name fewer groups and smaller classes, or spread the routes over several hosts"
    raise _refuse(site, Code.ZS0202, message, cure)


def _weigh(pattern: str) -> int:
    try:
        return weigh_pattern(pattern)
    except PatternError:
        return 0  # Written by ourselves, in the dialect of the engine alone.


def _patterns_of(tables: pb.Tables, clusters: Iterable[pb.Cluster]) -> Iterator[str]:
    yield from (row.pattern for row in tables.regexps)
    for changes in tables.header_changes:
        yield from _patterns_of_changes(changes)
    for rewrite in tables.rewrites:
        yield from _patterns_of_rewrite(rewrite)
    for call in tables.proxies:
        yield from _patterns_of_changes(call.request_headers)
        yield from _patterns_of_changes(call.response_headers)
        yield from _patterns_of_rewrite(call.rewrite)
    yield from (mapping.pattern for row in tables.maps for mapping in row.mappings)
    for expression in tables.expressions:
        calls = (node.call for node in expression.nodes if node.call.function == "matches")
        yield from (expression.nodes[call.operands[1]].text for call in calls)
    yield from (cluster.active_health.body_regexp for cluster in clusters)


def _patterns_of_changes(changes: pb.HeaderChanges) -> Iterator[str]:
    for change in changes.changes:
        if change.operation == pb.HEADER_REPLACE and not change.search_is_text:
            yield change.search


def _patterns_of_rewrite(rewrite: pb.Rewrite) -> Iterator[str]:
    yield from (step.pattern for step in rewrite.path_regexp)
    yield from (change.pattern for change in rewrite.query)


def _refuse(site: tree.Site, code: Code, message: str, cure: str) -> DiagnosticError:
    origin = site.origins[0] if site.origins else None
    return DiagnosticError([Diagnostic(code, message, span=site.span, origin=origin, help=cure)])
