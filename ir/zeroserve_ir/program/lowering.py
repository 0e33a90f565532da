"""Lowering: a site's route tree to a route program.

In: `tree.Site`. Out: `LoweredSite`: eBPF of the site's shape, the constants and tables of this site, and the
clusters and endpoints that it refers to. Code holds no data of the site: two sites with the same matchers and
handlers in the same order have equal code.

A list of routes is lowered to blocks, each for a position in the list and the groups that have applied before
it (Caddy: routes.go, wrapRoute): matchers run when their turn comes, so they see earlier rewrites; a route
without an answer falls through to the next one; a terminal one that gave no answer ends the request.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, DiagnosticError
from zeroserve_ir.program import abi
from zeroserve_ir.program import tables_answers as answers
from zeroserve_ir.program import tables_requests as requests
from zeroserve_ir.program.assembling import AssemblyError
from zeroserve_ir.program.authenticating import lower_basic_auth
from zeroserve_ir.program.clusters import EndpointsSource
from zeroserve_ir.program.dispatching import PathDispatch, find_hashed_path, find_path_run
from zeroserve_ir.program.emitting import AssembledProgram, Emitter
from zeroserve_ir.program.fitting import I64_MAX, fit
from zeroserve_ir.program.limiting import lower_rates
from zeroserve_ir.program.matching import MatcherLowering
from zeroserve_ir.program.paths import ComparedPath
from zeroserve_ir.program.plugin_calls import lower_plugin_call
from zeroserve_ir.program.serving_files import lower_file_server
from zeroserve_ir.program.shaping import lower_shaping
from zeroserve_ir.program.sizes import check_patterns, check_rows, check_size
from zeroserve_ir.program.steps import Step, StepKind, StepRecorder
from zeroserve_ir.program.surveying import choose_widths
from zeroserve_ir.program.tables import ERROR_MESSAGE, TableBuilder
from zeroserve_ir.program.tables_encode import add_encoding, add_templates
from zeroserve_ir.program.tabulating import find_alike, lower_tabulated, tabulate
from zeroserve_ir.sources import NOWHERE, Span
from zeroserve_ir.tree_carried import CarriedHandler
from zeroserve_ir.tree_encode import Encode
from zeroserve_ir.tree_files import FileServer
from zeroserve_ir.tree_templates import Templates
from zeroserve_ir.tree_traffic import Shaping

REQUEST_ENTRY = 0
ERROR_ENTRY = 1
FIRST_RESUME_ENTRY = 2
EXPLAINED_ROUTES_MAX = 100
"""More routes of a run are found at once also where each step is reported: all would be too much code."""

_Groups = frozenset[str]
_Block = tuple[int, int, _Groups, str]

_PLUGINS = (tree.CallPlugin, tree.AttachPlugin)
_ANSWERING = (tree.ReverseProxy, tree.Intercept, tree.CopyResponse, tree.CopyResponseHeaders, *_PLUGINS)


@dataclass(frozen=True, slots=True)
class LoweredSite:
    """A site ready to be published."""

    program: AssembledProgram
    constants: bytes
    tables: pb.Tables
    error_entry: int
    clusters: tuple[pb.Cluster, ...]
    endpoints: tuple[EndpointsSource, ...]
    steps: tuple[Step, ...] = ()
    """Rows of Tables.steps."""

    @property
    def code(self) -> bytes:
        """The byte code."""
        return self.program.code

    def make_program(self) -> pb.Program:
        """Return the code as it is published; hosts share it, so what it needs is its shape's."""
        return pb.Program(
            name=hashlib.sha256(self.code).hexdigest(),
            code=self.code,
            abi=abi.ABI_VERSION,
            constants_bytes=len(self.constants),
            reads_folded_path=self.program.reads_folded_path,
        )


def lower_site(site: tree.Site, *, explained: bool = False) -> LoweredSite:
    """Lower one site; an explained one reports its steps and is otherwise the same program.

    Raises `DiagnosticError` when the program (ZS0602) or its regular expressions (ZS0202) are too large.
    """
    return _SiteLowering(site, StepRecorder() if explained else None).lower()


class _SiteLowering:
    """Lowers one site; holds the code, the tables and the blocks still to be written."""

    def __init__(self, site: tree.Site, recorder: StepRecorder | None) -> None:
        self.site = site
        self.recorder = recorder
        self.emitter = Emitter()
        self.tables = TableBuilder()
        widths = choose_widths(site)
        self.matchers = MatcherLowering(self.emitter, self.tables, widths, self._add_resume, self._note)
        self.pending: deque[Callable[[], None]] = deque()
        self.blocks: dict[_Block, str] = {}
        self.written: set[_Block] = set()
        self.resumes: list[tuple[int, str]] = []

    def lower(self) -> LoweredSite:
        """Lower the routes, then the error routes, then the dispatch to entries other than a request."""
        emitter = self.emitter
        dispatch, end = emitter.new_label(), emitter.new_label()
        emitter.begin()
        emitter.jump_unless_entry(REQUEST_ENTRY, dispatch)
        self._lower_all(self.site.routes, end)
        emitter.finish_with(abi.Action.EMPTY)
        errors, error_end = emitter.new_label(), emitter.new_label()
        emitter.place(errors)
        self._lower_all(self.site.errors, error_end)
        emitter.finish_with_status_of_error()
        emitter.place(dispatch)
        for entry, label in [(ERROR_ENTRY, errors)] * bool(self.site.errors) + self.resumes:
            emitter.jump_if_entry(entry, label)
        emitter.finish_with(abi.Action.ERROR, detail=500)
        return self._finish()

    def _finish(self) -> LoweredSite:
        try:
            program = self.emitter.assemble()
        except AssemblyError:
            # A jump beyond its reach.
            check_size(self.site, len(self.emitter.operations), len(self.emitter.constants))
            raise
        constants = program.constants_bytes
        check_size(self.site, len(program.code) // 8, constants)
        clusters = tuple(self.tables.clusters.values())
        check_rows(self.site, self.tables.tables)
        check_patterns(self.site, self.tables.tables, clusters)
        return LoweredSite(
            program=program,
            constants=bytes(self.emitter.constants[:constants]),
            tables=self.tables.finish(),
            steps=tuple(self.recorder.steps) if self.recorder else (),
            error_entry=ERROR_ENTRY if self.site.errors else 0,
            clusters=clusters,
            endpoints=tuple(self.tables.endpoints.values()),
        )

    def _lower_all(self, routes: Sequence[tree.Route], end: str) -> None:
        self._lower_list(routes, 0, frozenset(), end)
        while self.pending:
            self.pending.popleft()()
        self.emitter.place(end)

    def _block_of(self, routes: Sequence[tree.Route], index: int, done: _Groups, end: str) -> _Block | None:
        """Return the block that goes on at `index` with `done`, or None at the end of the list."""
        while index < len(routes) and routes[index].group and routes[index].group in done:
            index += 1
        if index == len(routes):
            return None
        return id(routes), index, done & {route.group for route in routes[index:]}, end

    def _label_of(self, routes: Sequence[tree.Route], index: int, done: _Groups, end: str) -> str:
        """Return the label of a block; it is written later unless the code at hand runs into it."""
        block = self._block_of(routes, index, done, end)
        if block is None:
            return end
        if block not in self.blocks:
            self.blocks[block] = self.emitter.new_label()
            self.pending.append(lambda: self._write_pending(block, routes))
        return self.blocks[block]

    def _write_pending(self, block: _Block, routes: Sequence[tree.Route]) -> None:
        if block not in self.written:
            self._lower_list(routes, block[1], block[2], block[3])

    def _lower_list(self, routes: Sequence[tree.Route], index: int, done: _Groups, end: str) -> None:
        """Write the block at `index` and those that it runs into; at last control leaves to `end`."""
        while (block := self._block_of(routes, index, done, end)) is not None:
            if block in self.written:
                self.emitter.jump(self.blocks[block])
                return
            self.written.add(block)
            self.emitter.place(self.blocks.setdefault(block, self.emitter.new_label()))
            _, index, done, _ = block
            run = find_path_run(routes, index, done, self.matchers.widths)
            if run is not None and self._is_found_at_once(run):
                self._lower_run(routes, index, run, done, end)
                index += len(run.routes)
            else:
                self._lower_route(routes, index, done, end)
                index += 1
        self.emitter.jump(end)

    def _is_found_at_once(self, run: PathDispatch) -> bool:
        """Explained, each route of a short run is asked in its turn, to say why it does not apply."""
        if self.recorder is not None and len(run.routes) <= EXPLAINED_ROUTES_MAX:
            return False
        return run.fits(self.emitter)

    def _lower_route(self, routes: Sequence[tree.Route], index: int, done: _Groups, end: str) -> None:
        route = routes[index]
        self.emitter.span = route.span
        skip = self.emitter.new_label()
        self._note(StepKind.TRIED, route)
        if route.matchers:
            self.matchers.read_body_for(route.matchers)
            self.matchers.lower_sets(route.matchers, skip)
        self._note(StepKind.APPLIES, route)
        self._lower_handlers_of(routes, index, done, end)
        self.emitter.place(skip)

    def _lower_handlers_of(self, routes: Sequence[tree.Route], index: int, done: _Groups, end: str) -> None:
        """Write a route's handlers and where control goes when none of them answered."""
        route = routes[index]
        if not _lower_each(route.handlers, self._lower_handler):
            self._leave(routes, index, done, end)

    def _leave(self, routes: Sequence[tree.Route], index: int, done: _Groups, end: str) -> None:
        """Go on behind a route that gave no answer; where it has no group, the next one follows."""
        route = routes[index]
        if route.terminal:
            self.emitter.finish_with(abi.Action.EMPTY)
        elif route.group:
            self.emitter.jump(self._label_of(routes, index + 1, done | {route.group}, end))

    def _lower_run(
        self, routes: Sequence[tree.Route], index: int, run: PathDispatch, done: _Groups, end: str
    ) -> None:
        """Find the path of a run; the value is the route's position in it, from 1 where a trie finds it."""
        missed = self.emitter.new_label()
        self.emitter.span = routes[index].span
        first = 0 if run.hashed else 1
        if run.hashed:
            find_hashed_path(self.emitter, run.path, run.hashed, missed)
        elif run.path is ComparedPath.SENT:
            self.emitter.call_row("find_path", self.tables.add_trie(run.entries()))
            self.emitter.jump_if_zero(missed)
        else:
            self.emitter.call_row("find_pattern", self.tables.add_pattern_trie(run.patterns()))
            self.emitter.jump_if_zero(missed)
        if run.is_proxies_only and self.recorder is None:
            rows = [self.tables.add_proxy(proxy) for proxy in run.proxies()]
            self.emitter.finish_with_index_of_result(abi.Action.PROXY, rows[0] - first)
        elif run.hashed:
            self._lower_branches(routes, index, run, done, end)
        else:
            self._lower_tabulated(routes, index, run, done, end)
        self.emitter.place(missed)

    def _lower_tabulated(
        self, routes: Sequence[tree.Route], index: int, run: PathDispatch, done: _Groups, end: str
    ) -> None:
        def write(number: int) -> None:
            route = run.routes[number]
            self.emitter.span = route.span
            self._note(StepKind.APPLIES, route)
            self._lower_handlers_of(routes, index + number, done, end)

        made = tabulate(run.routes, self.tables, self._add_step if self.recorder else None)
        lower_tabulated(
            self.emitter, made, write, lambda number: self._leave(routes, index + number, done, end)
        )

    def _lower_branches(
        self, routes: Sequence[tree.Route], index: int, run: PathDispatch, done: _Groups, end: str
    ) -> None:
        labels: dict[object, str] = {}
        members: dict[str, int] = {}
        targets: list[str] = []
        for offset, route in enumerate(run.routes):
            label = labels.setdefault(find_alike(offset, route), self.emitter.new_label())
            members.setdefault(label, index + offset)
            targets.append(label)
        self.emitter.branch_by_result(targets, 0)
        for label, position in members.items():
            self.emitter.place(label)
            self.emitter.span = routes[position].span
            self._lower_handlers_of(routes, position, done, end)

    def _lower_handler(self, handler: tree.Handler) -> bool:
        """Write one handler; True when control never comes out of it."""
        self._note(StepKind.HANDLED, handler)
        self.matchers.read_body_for(handler)
        emitter, tables = self.emitter, self.tables
        match handler:
            case tree.Subroute(routes=routes):
                return self._lower_subroute(routes)
            case tree.Rewrite():
                emitter.call_row("rewrite", tables.add_rewrite(handler))
            case tree.Headers():
                self._lower_headers(handler)
            case tree.RequestBody():
                self._lower_request_body(handler)
            case tree.SetVariables():
                emitter.call_row("assign_variables", requests.add_assignments(tables.tables, handler))
            case tree.NameLoggers():
                emitter.call_row("assign_variables", requests.add_logger_names(tables.tables, handler))
            case tree.MapValues():
                emitter.call_row("map_values", requests.add_map(tables.tables, handler))
            case tree.AppendLog():
                emitter.call_row("append_log", requests.add_log_field(tables.tables, handler))
            case tree.LimitRate():
                owners = self._find_owner(), self._find_tenant()
                lower_rates(emitter, tables.tables, handler, owners, self._add_resume)
            case tree.Trace():
                emitter.call_row("trace_request", requests.add_trace(tables.tables, handler))
            case tree.BasicAuth():
                lower_basic_auth(emitter, tables, handler, self._add_resume)
            case tree.StaticResponse(abort=True):
                emitter.finish_with(abi.Action.ABORT)
                return True
            case tree.StaticResponse():
                emitter.finish_with(abi.Action.RESPOND, tables.add_response(handler))
                return True
            case tree.RaiseError(status=status, message=message):
                if message:
                    emitter.call_row("assign_variables", tables.add_assignments(((ERROR_MESSAGE, message),)))
                if status and not status.isdecimal():
                    emitter.call_row("set_status", answers.add_text(tables.tables, status))
                emitter.finish_with_error(int(status) if status.isdecimal() else 0)
                return True
            case Encode():
                emitter.call_row("encode_answer", add_encoding(tables, handler))
            case Templates():
                emitter.call_row("evaluate_templates", add_templates(tables, handler))
            case FileServer():
                return lower_file_server(emitter, tables, handler, self._add_resume)
            case tree.ReverseProxy(response_handlers=()):
                self._lower_proxy(handler)
                return True
            case _ if isinstance(handler, (*_ANSWERING, Shaping)):
                return self._lower_answering(handler)
            case CarriedHandler(module="push" | "timeouts"):
                pass  # Without it every answer is as right as with it (`caddyfile.judging` warns).
            case CarriedHandler(module=name) | tree.Invoke(name=name):
                finding = Diagnostic(
                    Code.ZS0110, f"{name} is not supported yet", emitter.span or NOWHERE, help="remove it"
                )
                raise DiagnosticError((finding,))
        return False

    def _lower_answering(self, handler: tree.Handler) -> bool:
        match handler:
            case _ if isinstance(handler, Shaping):
                lower_shaping(
                    self.emitter, self.tables.tables, handler, self._find_tenant(), self._add_resume
                )
            case tree.CallPlugin() | tree.AttachPlugin():
                lower_plugin_call(self.emitter, self.tables, handler, self._add_resume)
            case tree.ReverseProxy():
                self._lower_seen_proxy(handler)
            case tree.Intercept():
                self._lower_intercept(handler)
            case tree.CopyResponseHeaders():
                row = answers.add_field_selection(self.tables.tables, handler)
                self.emitter.call_row("copy_response_fields", row)
            case tree.CopyResponse(status=status):
                self._pass_answer(status)
                return True
        return False

    def _lower_request_body(self, handler: tree.RequestBody) -> None:
        if handler.content:
            row = answers.add_text(self.tables.tables, handler.content)
            self.emitter.call_row("set_request_body", row)
        if handler.size_bytes_max or not handler.content:
            self.emitter.call_constant("limit_request_body", fit(handler.size_bytes_max, I64_MAX))

    def _lower_seen_proxy(self, handler: tree.ReverseProxy) -> None:
        """Proxy, then go on here with the answer: to the next handlers unless a response handler keeps it."""
        seen, after = self.emitter.new_label(), self.emitter.new_label()
        self._lower_proxy(handler, self._add_resume(seen))
        self.emitter.place(seen)
        self._lower_response_handlers(handler.response_handlers, after)
        self.emitter.place(after)

    def _lower_intercept(self, handler: tree.Intercept) -> None:
        """Register the entry that sees the answer; its code stands apart and lets the answer pass."""
        entry = self.emitter.new_label()
        self.emitter.call_constant("intercept", self._add_resume(entry))
        span = self.emitter.span

        def write() -> None:
            self.emitter.span = span
            after = self.emitter.new_label()
            self.emitter.place(entry)
            self._lower_response_handlers(handler.handlers, after)
            self.emitter.place(after)
            self.emitter.finish_with(abi.Action.PASS)

        self.pending.append(write)

    def _lower_response_handlers(self, handlers: Sequence[tree.ResponseHandler], after: str) -> None:
        """The first that fits handles the answer and leaves to `after`; without one the answer passes."""
        emitter = self.emitter
        for handler in handlers:
            missed = emitter.new_label()
            if handler.match is not None:
                emitter.call_row(
                    "match_response", answers.add_response_match(self.tables.tables, handler.match)
                )
                emitter.jump_if_zero(missed)
            if handler.status:
                self._pass_answer(handler.status)
            else:
                self._lower_subroute(handler.routes)
                emitter.jump(after)
            emitter.place(missed)
        emitter.finish_with(abi.Action.PASS)

    def _pass_answer(self, status: str) -> None:
        if status:
            self.emitter.call_row("set_status", answers.add_text(self.tables.tables, status))
        self.emitter.finish_with(abi.Action.PASS)

    def _add_resume(self, label: str) -> int:
        """Return the entry at which a suspended program goes on at `label`."""
        entry = FIRST_RESUME_ENTRY + len(self.resumes)
        self.resumes.append((entry, label))
        return entry

    def _lower_proxy(self, handler: tree.ReverseProxy, response_entry: int = 0) -> None:
        """Proxy; at its retry entries the program proxies again where a repeated request is asked for.

        Sets with an expression are asked about answers too: they alone can speak of them (reverseproxy.go).
        """
        emitter, span = self.emitter, self.emitter.span or NOWHERE
        entries: list[tuple[int, str, tuple[tree.MatcherSet, ...]]] = []
        if handler.retry_match:
            of_answers = tuple(one for one in handler.retry_match if _asks_answers(one))
            for sets in (handler.retry_match, of_answers):
                if sets:
                    label = emitter.new_label()
                    entries.append((self._add_resume(label), label, sets))
        retry, answer_retry = ([entry for entry, *_ in entries] + [0, 0])[:2]
        row = self.tables.add_proxy(handler, span, retry, response_entry, answer_retry)
        emitter.finish_with(abi.Action.PROXY, row)
        for _, label, sets in entries:
            refused = emitter.new_label()
            emitter.place(label)
            self.matchers.lower_sets(sets, refused)
            emitter.finish_with(abi.Action.PROXY, row)
            emitter.place(refused)
            emitter.finish_with(abi.Action.EMPTY)

    def _note(self, kind: StepKind, subject: tree.Route | tree.Matcher | tree.Handler) -> None:
        """Report a step, where the program is lowered to be explained."""
        if self.recorder is not None:
            self.emitter.call_row("note_step", self._add_step(kind, subject, self.emitter.span or NOWHERE))

    def _add_step(self, kind: StepKind, subject: tree.Route | tree.Matcher | tree.Handler, span: Span) -> int:
        assert self.recorder is not None
        row = self.recorder.add(kind, subject, span)
        step = self.recorder.steps[row]
        self.tables.tables.steps.add(
            place=step.place, text=step.text, kind=pb.StepKind.Value(f"STEP_{step.kind.name}")
        )
        return row

    def _lower_subroute(self, routes: Sequence[tree.Route]) -> bool:
        after = self.emitter.new_label()
        self._lower_list(routes, 0, frozenset(), after)
        self.emitter.place(after)
        return False

    def _lower_headers(self, handler: tree.Headers) -> None:
        if handler.request:
            row = self.tables.add_header_changes(handler.request)
            self.emitter.call_row("change_request_headers", row)
        if handler.response:
            require = handler.require
            row = self.tables.add_header_changes(handler.response, handler.deferred, require)
            self.emitter.call_row("change_response_headers", row)

    def _find_owner(self) -> str:
        """Return host and namespace: what others there share nothing with."""
        site = self.site.addresses[0].host if self.site.addresses else ""
        return f"{tenant}/{site}" if (tenant := self._find_tenant()) else site

    def _find_tenant(self) -> str:
        return (self.emitter.span or NOWHERE).tenant


def _lower_each(handlers: Sequence[tree.Handler], lower: Callable[[tree.Handler], bool]) -> bool:
    """Write handlers up to the first that always answers; True when there is one."""
    return any(lower(handler) for handler in handlers)


def _asks_answers(matchers: tree.MatcherSet) -> bool:
    return any(isinstance(matcher, tree.MatchExpression) for matcher in matchers)
