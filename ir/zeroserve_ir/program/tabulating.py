"""Handlers that are the same calls with other rows: many routes share one piece of code, their rows are data.

In: the routes of a run. Out: classes of routes, each the uses of rows that its code makes, and columns of
rows by the number of the route. Called by `lowering`. Rule: what may suspend, and what is more than calls
with one row each, is code of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from zeroserve_ir import tree
from zeroserve_ir.program import abi
from zeroserve_ir.program import tables_requests as requests
from zeroserve_ir.program.emitting import Emitter
from zeroserve_ir.program.isa import R0, R1
from zeroserve_ir.program.mentioning import mentions_body
from zeroserve_ir.program.steps import StepKind
from zeroserve_ir.program.surveying import nested_routes
from zeroserve_ir.program.tables import TableBuilder
from zeroserve_ir.program.tables_files import add_file_server
from zeroserve_ir.sources import Span
from zeroserve_ir.tree_files import FileServer
from zeroserve_ir.tree_traffic import LimitConcurrency

MEMBERS_MIN = 3
"""Fewer routes take less code by themselves."""
USES_OF_FEW_MAX = 8
FEW_PART = 16
"""Routes with more uses share code where they are this part of a run, or more."""
Use = str | abi.Action
"""The helper that is called with a row, or the action that names it."""
Note = Callable[[StepKind, tree.Route | tree.Handler, Span], int]
"""Adds a step and returns its row."""


@dataclass(frozen=True, slots=True)
class RowUse:
    """What is done with a row, and what adds the row."""

    use: Use
    add: Callable[[], int]


@dataclass(slots=True)
class RouteClass:
    """Routes of one piece of code."""

    first: int
    """The number of its first route, from 0."""
    uses: tuple[Use, ...] | None
    """None: the first route's handlers are lowered as they stand; all others have the same."""
    terminal: bool

    @property
    def answers(self) -> bool:
        """Whether control never comes out of its uses."""
        return self.uses is not None and any(isinstance(use, abi.Action) for use in self.uses)


@dataclass(slots=True)
class Tabulation:
    """The classes of a run, and for each route its class and its rows."""

    classes: list[RouteClass] = field(default_factory=list)
    class_of: list[int] = field(default_factory=list)
    rows: list[tuple[int, ...]] = field(default_factory=list)

    def columns(self) -> list[list[int]]:
        """Return the rows by use: the first one of each route, the second one, …"""
        count = max(map(len, self.rows), default=0)
        return [[rows[at] if at < len(rows) else 0 for rows in self.rows] for at in range(count)]


def tabulate(routes: Sequence[tree.Route], tables: TableBuilder, note: Note | None) -> Tabulation:
    """Return the classes of a run's routes, whose rows are added; `note` where each step is reported."""
    found = [_find_uses(route, tables, note) for route in routes]
    uses = [None if some is None else tuple(one.use for one in some) for some in found]
    members = Counter(zip(uses, (route.terminal for route in routes), strict=True))
    made = Tabulation()
    known: dict[object, int] = {}
    for number, route in enumerate(routes):
        alike = members[uses[number], route.terminal]
        shared = uses[number] if _is_worth_columns(uses[number], alike, len(routes)) else None
        key: object = (shared, route.terminal)
        if shared is None:
            # Explained, each is told apart.
            key = number if note else find_alike(number, route)
        if key not in known:
            known[key] = len(made.classes)
            made.classes.append(RouteClass(number, shared, route.terminal))
        made.class_of.append(known[key])
        made.rows.append(() if shared is None else tuple(one.add() for one in found[number] or ()))
    return made


def find_alike(number: int, route: tree.Route) -> object:
    """Return what routes have in common that share handlers: limits are a tenant's, places a route's own."""
    if _has_places(route.handlers):
        return number
    return route.handlers, route.terminal, route.span.tenant


def _is_worth_columns(uses: tuple[Use, ...] | None, members: int, routes: int) -> bool:
    """A use by column is five instructions, by itself two; and a column has room for all routes."""
    if uses is None or members < MEMBERS_MIN:
        return False
    return len(uses) <= USES_OF_FEW_MAX or members * FEW_PART >= routes


def _has_places(handlers: Iterable[tree.Handler]) -> bool:
    """Whether `concurrency` is among the handlers or within them: its places are counted by row."""
    return any(
        isinstance(handler, LimitConcurrency)
        or any(_has_places(route.handlers) for routes in nested_routes(handler) for route in routes)
        for handler in handlers
    )


def lower_tabulated(
    emitter: Emitter, made: Tabulation, write: Callable[[int], None], leave: Callable[[int], None]
) -> None:
    """Write the classes of a run whose route's number, from 1, is in r0.

    `write` is called for the first route of a class whose handlers are code of their own, `leave` where
    control comes out of the others.
    """
    rows = 1 << len(made.rows).bit_length()
    emitter.keep_result(rows)
    columns = [emitter.add_column([0, *column], rows) for column in made.columns()]
    labels = [emitter.new_label() for _ in made.classes]
    if len(labels) > 1:
        emitter.load_of_column(R0, emitter.add_column([0, *made.class_of], rows), rows)
        emitter.branch_by_result(labels, 0)
    for label, one in zip(labels, made.classes, strict=True):
        emitter.place(label)
        if one.uses is None:
            write(one.first)
            continue
        for use, column in zip(one.uses, columns, strict=False):
            if isinstance(use, abi.Action):
                emitter.load_of_column(R0, column, rows)
                emitter.finish_with_index_of_result(use, 0)
            else:
                emitter.load_of_column(R1, column, rows)
                emitter.call(use)
        if not one.answers:
            leave(one.first)


def _find_uses(route: tree.Route, tables: TableBuilder, note: Note | None) -> list[RowUse] | None:
    found = _find_uses_of(route.handlers, route, tables, note)
    if found is None or note is None:
        return found
    return [_report(note, StepKind.APPLIES, route, route), *found]


def _find_uses_of(
    handlers: Iterable[tree.Handler], route: tree.Route, tables: TableBuilder, note: Note | None
) -> list[RowUse] | None:
    uses: list[RowUse] = []
    for handler in handlers:
        found = _read_handler(handler, route, tables, note)
        if found is None:
            return None
        if note is not None:
            uses.append(_report(note, StepKind.HANDLED, handler, route))
        uses += found
        if _answers(found):
            break
    return uses


def _answers(uses: Sequence[RowUse]) -> bool:
    """Whether control never comes out."""
    return any(isinstance(one.use, abi.Action) for one in uses)


def _report(note: Note, kind: StepKind, subject: tree.Route | tree.Handler, route: tree.Route) -> RowUse:
    return RowUse("note_step", lambda: note(kind, subject, route.span))


def _read_handler(
    handler: tree.Handler, route: tree.Route, tables: TableBuilder, note: Note | None
) -> list[RowUse] | None:
    if isinstance(handler, tree.Subroute):
        return _read_subroute(handler, tables, note)
    if mentions_body(handler):
        return None
    match handler:
        case tree.Rewrite():
            return [RowUse("rewrite", lambda: tables.add_rewrite(handler))]
        case tree.SetVariables():
            return [RowUse("assign_variables", lambda: requests.add_assignments(tables.tables, handler))]
        case tree.Headers():
            return _read_headers(handler, tables)
        case tree.StaticResponse(abort=False):
            return [RowUse(abi.Action.RESPOND, lambda: tables.add_response(handler))]
        case FileServer(pass_thru=False):
            return [RowUse(abi.Action.FILE, lambda: add_file_server(tables, handler))]
        case tree.ReverseProxy(response_handlers=(), retry_match=()):
            span = route.span
            return [RowUse(abi.Action.PROXY, lambda: tables.add_proxy(handler, span))]
        case _:
            return None


def _read_subroute(subroute: tree.Subroute, tables: TableBuilder, note: Note | None) -> list[RowUse] | None:
    """Of routes that all apply, one after another."""
    groups = [inner.group for inner in subroute.routes if inner.group]
    if any(inner.matchers or inner.terminal for inner in subroute.routes) or len({*groups}) < len(groups):
        return None
    uses: list[RowUse] = []
    for inner in subroute.routes:
        found = _find_uses(inner, tables, note)
        if found is None:
            return None
        uses += found
        if _answers(found):
            break
    return uses


def _read_headers(handler: tree.Headers, tables: TableBuilder) -> list[RowUse]:
    uses = []
    if handler.request:
        uses.append(RowUse("change_request_headers", lambda: tables.add_header_changes(handler.request)))
    if handler.response:
        rest = handler.response, handler.deferred, handler.require
        uses.append(RowUse("change_response_headers", lambda: tables.add_header_changes(*rest)))
    return uses
