"""Calls of `fold_path` that change nothing: the folded path is in the context already on every way to them.

In: a program's operations and labels. Out: the positions of such calls, which the assembler leaves out, and
whether the program counts on the folded path at its entries. Called by `emitting`. Rule: a call is left out
only where each way to it comes from an entry, where the engine has folded the path of a program that says so,
or from another call, and passes nothing since but helpers that leave the path as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

FOLD = "fold_path"
KEEPING = frozenset(
    {
        FOLD,
        "match_path",
        "match_regexp",
        "match_host",
        "match_method",
        "match_header",
        "match_query",
        "match_protocol",
        "match_remote_ip",
        "match_client_ip",
        "match_variable",
        "match_expression",
        "find_path",
        "find_pattern",
        "match_file",
        "match_response",
        "note_step",
        "read_body",
        "change_request_headers",
        "change_response_headers",
        "assign_variables",
        "map_values",
        "append_log",
        "trace_request",
        "check_password",
        "require_authentication",
        "encode_answer",
        "evaluate_templates",
        "intercept",
        "limit_request_body",
        "limit_rate",
        "limit_shared_rate",
        "limit_concurrency",
        "limit_bandwidth",
        "draw_fault",
        "use_cache",
    }
)
"""Helpers after which the folded path is that of the request still."""


class Operation(Protocol):
    """What is asked of an operation."""

    @property
    def name(self) -> str:
        """What it does."""

    @property
    def operands(self) -> tuple[object, ...]:
        """What it does it with; of a call, the helper."""

    @property
    def target(self) -> str:
        """The label that it may jump to, or ""."""

    @property
    def falls_through(self) -> bool:
        """Whether control goes on behind it."""


@dataclass(frozen=True, slots=True)
class IdleFolds:
    """The positions of calls that would write what is there."""

    positions: frozenset[int]
    at_entry: bool
    """Whether that holds only where the folded path is in the context at each entry."""


def find_idle_folds(operations: Sequence[Operation], places: Mapping[str, int]) -> IdleFolds:
    """Return the calls to leave out."""
    folds = [at for at, one in enumerate(operations) if _helper_of(one) == FOLD]
    if not folds:
        return IdleFolds(frozenset(), at_entry=False)
    alone, given = (_find_idle(operations, places, folds, at_entry) for at_entry in (False, True))
    return IdleFolds(given, at_entry=given != alone)


def _find_idle(
    operations: Sequence[Operation], places: Mapping[str, int], folds: Sequence[int], at_entry: bool
) -> frozenset[int]:
    # Whether the folded path is there on all ways found so far; it only ever becomes False.
    known: dict[int, bool] = {0: at_entry}
    waiting = [0]
    while waiting:
        position = waiting.pop()
        operation = operations[position]
        after = _is_folded_after(operation, known[position])
        following = [places[operation.target]] if operation.target else []
        if operation.falls_through:
            following.append(position + 1)
        for one in following:
            if one not in known or (known[one] and not after):
                known[one] = after
                waiting.append(one)
    return frozenset(at for at in folds if known.get(at, False))


def _is_folded_after(operation: Operation, before: bool) -> bool:
    helper = _helper_of(operation)
    return helper == FOLD or (before and (not helper or helper in KEEPING))


def _helper_of(operation: Operation) -> str:
    """The name of the helper that is called, or ""."""
    return str(operation.operands[0]) if operation.name == "call" else ""
