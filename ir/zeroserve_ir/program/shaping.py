"""`cache`, `fault` and `bandwidth` as instructions and rows.

Called by `lowering`. All three say something about what comes behind them; only `fault` may end the request.
"""

from __future__ import annotations

from collections.abc import Callable

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.program import abi
from zeroserve_ir.program.emitting import Emitter
from zeroserve_ir.program.texts import parse_text
from zeroserve_ir.tree_traffic import InjectFault, KeepAnswers, LimitBandwidth, LimitConcurrency, Shaping

_DELAYED, _ENDED = 1, 2
"""Bits of what `draw_fault` gives."""


def lower_shaping(
    emitter: Emitter,
    tables: pb.Tables,
    handler: Shaping,
    tenant: str,
    add_resume: Callable[[str], int],
) -> None:
    """Write one of the handlers."""
    match handler:
        case KeepAnswers():
            emitter.call_row("use_cache", _add_cache(tables, handler, tenant))
        case LimitConcurrency(requests_max, key):
            tables.concurrencies.add(requests_max=requests_max, key=parse_text(key))
            emitter.call_row("limit_concurrency", len(tables.concurrencies) - 1)
            allowed = emitter.new_label()
            emitter.jump_if_zero(allowed)
            emitter.finish_with(abi.Action.ERROR, detail=429)
            emitter.place(allowed)
        case LimitBandwidth(rate, free):
            tables.bandwidths.add(bytes_per_second=rate, free_bytes=free)
            emitter.call_row("limit_bandwidth", len(tables.bandwidths) - 1)
        case InjectFault():
            _lower_fault(emitter, tables, handler, add_resume)


def _lower_fault(
    emitter: Emitter, tables: pb.Tables, handler: InjectFault, add_resume: Callable[[str], int]
) -> None:
    """Draw twice, before and after the pause: the draws are the request's own, and come out the same."""
    tables.faults.add(
        delay_ms=handler.delay_ms,
        delays_in_million=handler.delays_in_million,
        aborts_in_million=handler.aborts_in_million,
    )
    row = len(tables.faults) - 1
    judged, after = emitter.new_label(), emitter.new_label()
    if handler.delays_in_million:
        goes_on = emitter.new_label()
        emitter.call_row("draw_fault", row)
        emitter.jump_if_zero(after)
        emitter.jump_if_result(_ENDED, judged)
        entry = add_resume(goes_on)
        emitter.finish_with(abi.Action.SUSPEND, abi.Operation.PAUSE | row << 8, detail=entry)
        emitter.place(goes_on)
    emitter.place(judged)
    if handler.aborts_in_million:
        emitter.call_row("draw_fault", row)
        emitter.jump_if_zero(after)
        emitter.jump_if_result(_DELAYED, after)
        emitter.finish_with(abi.Action.ERROR, detail=handler.abort_status)
    emitter.place(after)


def _add_cache(tables: pb.Tables, handler: KeepAnswers, tenant: str) -> int:
    row = tables.caches.add(
        stale_ms=handler.stale_ms,
        body_bytes_max=handler.body_bytes_max,
        purgers=handler.purgers,
        tenant=tenant,
    )
    if handler.key:
        row.key.CopyFrom(parse_text(handler.key))
    for time in handler.times:
        row.times.add(ttl_ms=time.ttl_ms, statuses=time.statuses)
    return len(tables.caches) - 1
