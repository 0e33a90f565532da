"""Rendering: header fields that a route sets.

In: `model.HeaderEdits`. Out: routes that precede what a route does, and what its proxy changes. Fields of
answers are changed when those are written: what is set first here is applied last.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

from zeroserve_ir import tree
from zeroserve_ir.model import FieldEdit, HeaderEdits
from zeroserve_ir.tree import HeaderOperations

ADDED_STATUSES: Final = (200, 201, 204, 206, 301, 302, 303, 304, 307, 308)
"""Answers that nginx adds fields to (`add_header` without `always`)."""
_PLACEHOLDER: Final = re.compile(r"\{[^{}]+\}")


def edit_answers(edits: HeaderEdits, *, errors: bool = False) -> Iterator[tree.Route]:
    """Yield what changes answers; of `errors`, which the node itself answers, those of any status alone."""
    yield from _edit(edits.answered, _of_answers)
    for one in reversed(edits.added):
        if errors and not one.always:
            continue
        require = None if one.always else tree.ResponseMatch(ADDED_STATUSES)
        operations = HeaderOperations(add=((one.name, one.value),))
        added = tree.Headers(response=operations, deferred=True, require=require)
        yield tree.Route((added,), matchers=(_is_given(one.value),) if one.is_sparse else ())


def edit_requests(edits: HeaderEdits) -> Iterator[tree.Route]:
    """Yield what changes requests before a Service is chosen; of what is sent, values that may be empty."""
    yield from _edit(edits.taken, _of_requests)
    yield from _edit((one for one in edits.sent if one.is_sparse), _of_requests)


def edit_proxied(edits: HeaderEdits, proxy: tree.ReverseProxy) -> tree.ReverseProxy:
    """Return a proxy that changes what it sends, and what it passes on."""
    sent = _merge(one for one in edits.sent if not one.is_sparse)
    told = proxy.request_headers
    return replace(
        proxy,
        request_headers=replace(told, set=(*told.set, *sent.set), delete=(*told.delete, *sent.delete)),
        response_headers=HeaderOperations(delete=edits.hidden),
    )


def count_edits(edits: HeaderEdits) -> int:
    """Return how many steps a route has for them, at least."""
    return sum(1 for _ in (*edit_answers(edits), *edit_requests(edits)))


def _edit(
    edits: Iterable[FieldEdit], make: Callable[[HeaderOperations], tree.Handler]
) -> Iterator[tree.Route]:
    known = tuple(edits)
    if merged := _merge(one for one in known if not one.is_sparse):
        yield tree.Route((make(merged),))
    for one in known:
        if one.is_sparse:
            put, removed = (
                HeaderOperations(set=((one.name, one.value),)),
                HeaderOperations(delete=(one.name,)),
            )
            yield tree.Route((make(put),), matchers=(_is_given(one.value),))
            yield tree.Route((make(removed),), matchers=(_is_empty(one.value),))


def _merge(edits: Iterable[FieldEdit]) -> HeaderOperations:
    known = tuple(edits)
    return HeaderOperations(
        set=tuple((one.name, one.value) for one in known if one.value),
        delete=tuple(one.name for one in known if not one.value),
    )


def _of_answers(operations: HeaderOperations) -> tree.Handler:
    return tree.Headers(response=operations, deferred=True)


def _of_requests(operations: HeaderOperations) -> tree.Handler:
    return tree.Headers(request=operations)


def _is_given(value: str) -> tree.MatcherSet:
    return (tree.MatchNot((_is_empty(value),)),)


def _is_empty(value: str) -> tree.MatcherSet:
    """Match where each placeholder of a value is empty; a sparse one has nothing else."""
    return tuple(tree.MatchVars(((one, ("",)),)) for one in dict.fromkeys(_PLACEHOLDER.findall(value)))
