"""Byte code for the engine's interpreter: loads tell what the verifier knows of them.

In: a verified program. Out: its code, with `abi.LOAD_OF_WINDOW` in each load that is not of the constants.
Called by whoever hands byte code to an engine. Rule: the interpreter sees values only, and a number that
looks like a pointer to the constants must mean to it what it means to native code: an address of the window.
"""

from __future__ import annotations

import struct

from zeroserve_ir.program import abi
from zeroserve_ir.program.isa import SLOT_BYTES, Load

from zeroserve_dataplane.verifier import Verified
from zeroserve_dataplane.verifier.accesses import ConstantsAccess

_IMMEDIATE_OFFSET = 4
_MARK = struct.pack("<i", abi.LOAD_OF_WINDOW)


def mark_loads(program: Verified) -> bytes:
    """Return the code of a program for the engine's interpreter."""
    code = bytearray(program.code)
    for slot, access in program.accesses.items():
        if isinstance(program.slots[slot], Load) and not isinstance(access, ConstantsAccess):
            start = slot * SLOT_BYTES + _IMMEDIATE_OFFSET
            code[start : start + len(_MARK)] = _MARK
    return bytes(code)
