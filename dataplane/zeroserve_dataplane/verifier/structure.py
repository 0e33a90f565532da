"""First stage: what each instruction says by itself.

In: code. Out: its slots, and refusals of those that are malformed, write r10, or name no helper.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from zeroserve_ir.program import abi
from zeroserve_ir.program.isa import (
    R0,
    R10,
    Atomic,
    AtomicOperator,
    Binary,
    CallHelper,
    Load,
    LoadConstants,
    LoadImmediate,
    Malformed,
    Negate,
    Register,
    SignExtend,
    Slot,
    SwapBytes,
)

from zeroserve_dataplane.verifier.refusals import Refusal, Rule

_WITH_DESTINATION: Final = (Binary, Load, LoadImmediate, LoadConstants, Negate, SignExtend, SwapBytes)


def check_sizes(slots: tuple[Slot, ...], constants_bytes: int) -> Iterator[Refusal]:
    """Refuse what is larger than the node agreed to compile."""
    if len(slots) > abi.INSTRUCTIONS_MAX:
        yield Refusal(Rule.PROGRAM_SIZE, abi.INSTRUCTIONS_MAX, f"{len(slots)} slots")
    if not 0 <= constants_bytes <= abi.CONSTANTS_BYTES_MAX:
        yield Refusal(Rule.CONSTANTS_SIZE, 0, f"{constants_bytes} bytes")


def check_structure(slots: tuple[Slot, ...]) -> Iterator[Refusal]:
    """Refuse instructions that are wrong wherever they stand."""
    for index, slot in enumerate(slots):
        if isinstance(slot, Malformed):
            # Every malformation has a rule of the same name.
            yield Refusal(Rule[slot.malformation.name], index, slot.found)
        elif written_register(slot) is R10:
            yield Refusal(Rule.FRAME_POINTER, index, type(slot).__name__)
        elif isinstance(slot, CallHelper) and slot.number not in abi.BY_NUMBER:
            yield Refusal(Rule.UNKNOWN_HELPER, index, f"helper {slot.number}")


def written_register(slot: Slot) -> Register | None:
    """Return the register that an instruction, calls aside, writes."""
    if isinstance(slot, _WITH_DESTINATION):
        return slot.destination
    match slot:
        case Atomic(operator=AtomicOperator.CMPXCHG):
            return R0
        case Atomic(source=register, fetch=True):
            return register
        case _:
            return None
