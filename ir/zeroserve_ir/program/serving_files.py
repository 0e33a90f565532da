"""`file_server` as code: the action that names its row, and the entry behind one that passes on.

In: the handler. Out: a FILE action. Called by `lowering`.
"""

from __future__ import annotations

from collections.abc import Callable

from zeroserve_ir.program import abi
from zeroserve_ir.program.emitting import Emitter
from zeroserve_ir.program.tables import TableBuilder
from zeroserve_ir.program.tables_files import add_file_server
from zeroserve_ir.tree_files import FileServer


def lower_file_server(
    emitter: Emitter, tables: TableBuilder, server: FileServer, add_resume: Callable[[str], int]
) -> bool:
    """Write the action; True when control never comes out of it: a missing file may be passed on."""
    row = add_file_server(tables, server)
    if not server.pass_thru:
        emitter.finish_with(abi.Action.FILE, row)
        return True
    passed = emitter.new_label()
    emitter.finish_with(abi.Action.FILE, row, detail=add_resume(passed))
    emitter.place(passed)
    return False
