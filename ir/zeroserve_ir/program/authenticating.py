"""`basic_auth` as code: the answer at once where it is known, else after the password was hashed.

In: the handler. Out: a check, and a suspend point with the entry behind it. Called by `lowering`. Rule:
without a right password control never comes out: 401.
"""

from __future__ import annotations

from collections.abc import Callable

from zeroserve_ir import tree
from zeroserve_ir.program import abi
from zeroserve_ir.program.emitting import Emitter
from zeroserve_ir.program.tables import TableBuilder


def lower_basic_auth(
    emitter: Emitter, tables: TableBuilder, auth: tree.BasicAuth, add_resume: Callable[[str], int]
) -> None:
    """Write the check; `add_resume` gives the entry at which a suspended program goes on at a label."""
    row = tables.add_credentials(auth)
    granted, denied, resumed = (emitter.new_label() for _ in range(3))
    entry = add_resume(resumed)
    emitter.call_row("check_password", row)
    emitter.jump_if_result(1, granted)
    emitter.jump_if_zero(denied)
    operation = abi.Operation.CHECK_PASSWORD | row << 8
    emitter.finish_with(abi.Action.SUSPEND, operation, detail=entry)
    emitter.place(resumed)
    emitter.load_context(abi.Field.RESUME_RESULT)
    emitter.jump_if_result(1, granted)
    emitter.place(denied)
    emitter.call_row("require_authentication", row)
    emitter.finish_with(abi.Action.ERROR, detail=401)
    emitter.place(granted)
