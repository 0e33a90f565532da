"""Lowering of matcher sets: code that goes on when a set applies and leaves to a label when none does.

In: `tree.MatcherSet`s. Out: operations in the emitter and rows in the tables. Ingress paths and Caddy's
simple path patterns are compared in code; every other matcher is a helper with a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, DiagnosticError
from zeroserve_ir.expressions.checking import compile_expression
from zeroserve_ir.expressions.lowering import as_matcher_sets, encode_expression
from zeroserve_ir.expressions.nodes import ExpressionError
from zeroserve_ir.program import abi
from zeroserve_ir.program.emitting import Emitter
from zeroserve_ir.program.mentioning import mentions_body
from zeroserve_ir.program.paths import ComparedPath, PathMatch, read_path
from zeroserve_ir.program.patterns import PatternKind, encode_end, split_patterns
from zeroserve_ir.program.steps import StepKind
from zeroserve_ir.program.surveying import Widths
from zeroserve_ir.program.tables import ERROR_MESSAGE, TableBuilder
from zeroserve_ir.program.tables_answers import add_error_status
from zeroserve_ir.program.tables_files import add_file_match, raised_status
from zeroserve_ir.program.tables_requests import add_vars_regexp
from zeroserve_ir.sources import NOWHERE
from zeroserve_ir.tree_carried import CarriedMatcher
from zeroserve_ir.tree_files import MatchFile

PATTERN_SLOTS_MAX = 1536
"""Of a program's instructions, so many for Caddy's path patterns; what does not fit is a helper's call."""


class MatcherLowering:
    """Lowers matcher sets at the site's widths of compared paths.

    `add_resume` gives the entry at which a suspended program goes on at a label.
    """

    def __init__(
        self,
        emitter: Emitter,
        tables: TableBuilder,
        widths: Widths,
        add_resume: Callable[[str], int],
        note: Callable[[StepKind, tree.Matcher], None],
    ) -> None:
        self.emitter = emitter
        self.tables = tables
        self.widths = widths
        self.pattern_slots_left = PATTERN_SLOTS_MAX
        self.add_resume = add_resume
        self.note = note

    def lower_sets(self, sets: Sequence[tree.MatcherSet], fail: str) -> None:
        """Go on when one of the sets applies, else leave to `fail`."""
        matched = self.emitter.new_label()
        for number, matchers in enumerate(sets):
            is_last = number == len(sets) - 1
            missed = fail if is_last else self.emitter.new_label()
            patterns = [matcher for matcher in matchers if isinstance(matcher, tree.MatchVarsRegexp)]
            for matcher in matchers:
                if not isinstance(matcher, tree.MatchVarsRegexp):
                    self.note(StepKind.COMPARED, matcher)
                    self._lower(matcher, missed)
            for pattern in patterns[:1]:
                self.note(StepKind.COMPARED, pattern)
            self._require_any([self._add_row(pattern) for pattern in patterns], missed)
            if not is_last:
                self.emitter.jump(matched)
                self.emitter.place(missed)
        self.emitter.place(matched)

    def _lower(self, matcher: tree.Matcher, fail: str) -> None:
        match matcher:
            case tree.MatchPathExact() | tree.MatchPathPrefix():
                self._lower_path(matcher, fail)
            case tree.MatchPath():
                self._lower_patterns(matcher, fail)
            case tree.MatchNot(sets=sets):
                self._lower_not(sets, fail)
            case MatchFile():
                self._lower_file(matcher, fail)
            case tree.MatchExpression():
                self._lower_expression(matcher, fail)
            case tree.MatchHeader(fields=fields):
                for field, values in fields:
                    self._require("match_header", self.tables.add_header(field, values), fail)
            case tree.MatchVars(variables=variables):
                rows = [self.tables.add_variable(subject, values) for subject, values in variables]
                self._require_any([("match_variable", row) for row in rows], fail)
            case CarriedMatcher("tls", settings):
                self._lower_tls(settings.value(), fail)
            case _:
                helper, row = self._add_row(matcher)
                self._require(helper, row, fail)

    def _lower_tls(self, settings: object, fail: str) -> None:
        """Every request over TLS comes after its handshake (caddyhttp/matchers.go MatchTLS)."""
        if isinstance(settings, dict) and settings.get("handshake_complete") is False:
            self.emitter.jump(fail)
        else:
            self._require("match_protocol", self.tables.add_protocol(tree.MatchProtocol("https")), fail)

    def _add_row(self, matcher: tree.Matcher) -> tuple[str, int]:
        tables = self.tables
        match matcher:
            case tree.MatchPath():
                return "match_path", tables.add_paths(matcher)
            case tree.MatchPathRegexp(pattern=pattern, name=name):
                return "match_regexp", tables.add_regexp(pattern, name, pb.PATH)
            case tree.MatchHeaderRegexp(field=field, pattern=pattern, name=name):
                return "match_regexp", tables.add_regexp(pattern, name, pb.HEADER, field)
            case tree.MatchVarsRegexp():
                return "match_regexp", add_vars_regexp(tables.tables, matcher)
            case tree.MatchErrorStatus():
                return "match_response", add_error_status(tables.tables, matcher)
            case tree.MatchHost():
                return "match_host", tables.add_hosts(matcher)
            case tree.MatchMethod():
                return "match_method", tables.add_methods(matcher)
            case tree.MatchQuery():
                return "match_query", tables.add_query(matcher)
            case tree.MatchProtocol():
                return "match_protocol", tables.add_protocol(matcher)
            case tree.MatchRemoteIp(ranges=ranges):
                return "match_remote_ip", tables.add_addresses(ranges)
            case tree.MatchClientIp(ranges=ranges):
                return "match_client_ip", tables.add_addresses(ranges)
            case CarriedMatcher(module=name):
                message = f"matcher {name} is not supported yet"
                raise DiagnosticError(
                    (Diagnostic(Code.ZS0110, message, self.emitter.span or NOWHERE, help="remove it"),)
                )
            case _:
                raise AssertionError(f"no lowering for {type(matcher).__name__}")

    def _require_any(self, rows: Sequence[tuple[str, int]], fail: str) -> None:
        """Go on when one of the rows fits: entries of `vars` and `vars_regexp` are alternatives (vars.go)."""
        fits = self.emitter.new_label()
        for helper, row in rows[:-1]:
            self.emitter.call_row(helper, row)
            self.emitter.jump_unless_zero(fits)
        for helper, row in rows[-1:]:
            self._require(helper, row, fail)
        self.emitter.place(fits)

    def _require(self, helper: str, row: int, fail: str) -> None:
        self.emitter.call_row(helper, row)
        self.emitter.jump_if_zero(fail)

    def _lower_expression(self, matcher: tree.MatchExpression, fail: str) -> None:
        """Lower what is only matchers as such; an expression without a value is an error (celmatcher.go)."""
        emitter = self.emitter
        try:
            node = compile_expression(matcher.expression, matcher.name)
        except ExpressionError as error:
            message = f"{error.message} (character {error.offset + 1} of {matcher.expression!r})"
            span = emitter.span or NOWHERE
            raise DiagnosticError([Diagnostic(Code.ZS0112, message, span, help=error.cure)]) from None
        sets = as_matcher_sets(node)
        if sets is not None:
            if sets:
                self.lower_sets(sets, fail)
            else:
                emitter.jump(fail)
            return
        holds = emitter.new_label()
        tables = self.tables.tables
        expression = encode_expression(node, self._expression_rows)
        tables.expressions.append(expression)
        emitter.call_row("match_expression", len(tables.expressions) - 1)
        emitter.jump_if_zero(fail)
        emitter.jump_if_result(1, holds)
        emitter.finish_with(abi.Action.ERROR, detail=500)
        emitter.place(holds)

    def _expression_rows(self, matcher: tree.Matcher) -> tuple[list[tuple[int, int]], bool]:
        match matcher:
            case tree.MatchHeader(fields=fields):
                rows = [("match_header", self.tables.add_header(field, values)) for field, values in fields]
            case tree.MatchVars(variables=variables):
                rows = [
                    ("match_variable", self.tables.add_variable(subject, values))
                    for subject, values in variables
                ]
            case _:
                rows = [self._add_row(matcher)]
        numbers = [(abi.BY_NAME[helper].number, row) for helper, row in rows]
        return numbers, isinstance(matcher, tree.MatchVars)

    def read_body_for(self, part: tree.Handler | tuple[tree.MatcherSet, ...]) -> None:
        """Suspend until the request's body is here, where what follows mentions it."""
        if not mentions_body(part):
            return
        read = self.emitter.new_label()
        self.emitter.call("read_body")
        self.emitter.jump_if_zero(read)
        self.emitter.finish_with(abi.Action.SUSPEND, abi.Operation.READ_BODY, detail=self.add_resume(read))
        self.emitter.place(read)

    def _lower_file(self, matcher: MatchFile, fail: str) -> None:
        """Look at once where the kernel need not wait, else suspend; `=404` raises that status."""
        emitter = self.emitter
        matched, raised, resumed = (emitter.new_label() for _ in range(3))
        status = raised_status(matcher)
        row = add_file_match(self.tables, matcher)
        emitter.call_row("match_file", row)
        emitter.jump_if_result(1, matched)
        emitter.jump_if_zero(fail)
        emitter.jump_if_result(3, raised)
        operation = abi.Operation.MATCH_FILE | row << 8
        emitter.finish_with(abi.Action.SUSPEND, operation, detail=self.add_resume(resumed))
        emitter.place(resumed)
        emitter.load_context(abi.Field.RESUME_RESULT)
        emitter.jump_if_result(1, matched)
        emitter.jump_if_zero(fail)
        emitter.place(raised)
        if status:
            message = self.tables.add_assignments(((ERROR_MESSAGE, str(status)),))
            emitter.call_row("assign_variables", message)
        emitter.finish_with_error(status)
        emitter.place(matched)

    def _lower_path(self, matcher: PathMatch, fail: str) -> None:
        if self.widths.paths is not None:
            constants = read_path(matcher).encode(self.widths.paths)
            self.emitter.compare_path(ComparedPath.SENT, constants, fail)
            return
        exact = isinstance(matcher, tree.MatchPathExact)
        self._require("find_path", self.tables.add_trie([(matcher.path, exact, 1)]), fail)

    def _lower_patterns(self, matcher: tree.MatchPath, fail: str) -> None:
        """Compare the simple patterns, then ask the helper about the others."""
        width = self.widths.patterns
        simple, others = split_patterns(matcher.patterns)
        slots = 1 + sum(one.slots(width) for one in simple)
        if any(one.kind is PatternKind.ANY for one in simple):
            return
        if not simple or slots > self.pattern_slots_left or any(one.words() > width for one in simple):
            self._require("match_path", self.tables.add_paths(matcher), fail)
            return
        self.pattern_slots_left -= slots
        fits = self.emitter.new_label()
        self.emitter.call("fold_path")
        for number, pattern in enumerate(simple, start=1):
            is_last = number == len(simple) and not others
            missed = fail if is_last else self.emitter.new_label()
            if pattern.kind is PatternKind.SUFFIX:
                self.emitter.compare_folded_end(encode_end(pattern), missed)
            else:
                constants = pattern.beginning().encode(width)
                self.emitter.compare_path(ComparedPath.FOLDED, constants, missed)
            if not is_last:
                self.emitter.jump(fits)
                self.emitter.place(missed)
        if others:
            self._require("match_path", self.tables.add_paths(tree.MatchPath(others)), fail)
        self.emitter.place(fits)

    def _lower_not(self, sets: Sequence[tree.MatcherSet], fail: str) -> None:
        missed = self.emitter.new_label()
        self.lower_sets(sets, missed)
        self.emitter.jump(fail)
        self.emitter.place(missed)
