"""`rate_limit` as instructions and rows.

Called by `lowering`. A shared zone asks the node's tokens; where none are at hand the program waits for what
the store says.
"""

from __future__ import annotations

from collections.abc import Callable

from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.program import abi
from zeroserve_ir.program.emitting import Emitter
from zeroserve_ir.program.texts import parse_text

_LIMITED, _UNKNOWN = 1, 2
"""Of what `limit_shared_rate` gives."""


def lower_rates(
    emitter: Emitter,
    tables: pb.Tables,
    handler: tree.LimitRate,
    owner_and_tenant: tuple[str, str],
    add_resume: Callable[[str], int],
) -> None:
    """Write all zones; equal names of other owners are other zones, each tenant has buckets of its own."""
    owner, tenant = owner_and_tenant
    for zone in handler.zones:
        tables.rate_limits.add(
            name=f"{owner} {zone.name}",
            key=parse_text(zone.key),
            events=zone.events,
            window_ms=zone.window_ms,
            burst=zone.burst,
            shared=zone.shared,
            store_down=pb.StoreDown.Value(f"STORE_DOWN_{handler.store_down.name}"),
            tenant=tenant,
        )
        row = len(tables.rate_limits) - 1
        allowed = emitter.new_label()
        if zone.shared:
            _lower_shared(emitter, row, allowed, add_resume)
        else:
            emitter.call_row("limit_rate", row)
            emitter.jump_if_zero(allowed)
        emitter.finish_with(abi.Action.ERROR, detail=429)
        emitter.place(allowed)


def _lower_shared(emitter: Emitter, row: int, allowed: str, add_resume: Callable[[str], int]) -> None:
    """Go to `allowed`, end with 503, or fall through where the rate is passed."""
    resumed, unknown, limited = (emitter.new_label() for _ in range(3))
    entry = add_resume(resumed)
    emitter.call_row("limit_shared_rate", row)
    emitter.jump_if_result(_UNKNOWN, unknown)
    emitter.jump_if_zero(allowed)
    emitter.jump_if_result(_LIMITED, limited)
    emitter.finish_with(abi.Action.ERROR, detail=503)
    emitter.place(unknown)
    emitter.finish_with(abi.Action.SUSPEND, abi.Operation.TAKE_TOKEN | row << 8, detail=entry)
    emitter.place(resumed)
    emitter.load_context(abi.Field.RESUME_RESULT)
    emitter.jump_if_zero(allowed)
    emitter.jump_if_result(_LIMITED, limited)
    emitter.finish_with(abi.Action.ERROR, detail=503)
    emitter.place(limited)
