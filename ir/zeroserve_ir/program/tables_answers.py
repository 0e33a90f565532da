"""Rows about answers: response matchers, texts, selections of fields.

In: `tree_answers` values. Out: rows of the tables, and their indices. Called by lowering.
"""

from __future__ import annotations

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.program.texts import parse_text
from zeroserve_ir.tree_answers import CopyResponseHeaders, MatchErrorStatus, ResponseMatch


def build_response_match(match: ResponseMatch) -> pb.ResponseMatch:
    """Return the row of a response matcher; statuses below 1 fit no answer."""
    headers = [
        pb.HeaderMatch(field=field, values=values or (), absent=values is None)
        for field, values in match.fields
    ]
    return pb.ResponseMatch(statuses=[max(status, 0) for status in match.statuses], headers=headers)


def add_response_match(tables: pb.Tables, match: ResponseMatch) -> int:
    """Add a response matcher."""
    tables.response_matches.append(build_response_match(match))
    return len(tables.response_matches) - 1


def add_error_status(tables: pb.Tables, match: MatchErrorStatus) -> int:
    """Add the statuses of `handle_errors` as a response matcher."""
    statuses = [int(text[0]) if text.endswith("xx") else int(text) for text in match.statuses]
    return add_response_match(tables, ResponseMatch(tuple(statuses)))


def add_text(tables: pb.Tables, text: str) -> int:
    """Add a text with placeholders."""
    tables.texts.append(parse_text(text))
    return len(tables.texts) - 1


def add_field_selection(tables: pb.Tables, copied: CopyResponseHeaders) -> int:
    """Add the fields of `copy_response_headers`."""
    tables.field_selections.add(include=copied.include, exclude=copied.exclude)
    return len(tables.field_selections) - 1
