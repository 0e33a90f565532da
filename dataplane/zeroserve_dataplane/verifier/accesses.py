"""Memory: which accesses may be made, and what the compiler may rely on in each.

In: base value, offset, size. Out: an `Access`, or a refusal. The rule: only exact places are left without a
mask; an index into the constants is bounded by a power of two that fits, so that the mask which the compiler
puts there keeps even a mispredicted load inside them; everything else is caged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from zeroserve_ir.program import abi
from zeroserve_ir.program.arithmetic import MASK_32
from zeroserve_ir.program.isa import Atomic, Load, Store

from zeroserve_dataplane.verifier.refusals import Refusal, Rule
from zeroserve_dataplane.verifier.values import Region, Value


@dataclass(frozen=True, slots=True)
class FrameAccess:
    """An exact place of the stack frame: distance from r10, negative."""

    distance: int


@dataclass(frozen=True, slots=True)
class WindowAccess:
    """An exact guest address, mapped."""

    address: int


@dataclass(frozen=True, slots=True)
class ConstantsAccess:
    """A load from the constants, from offset `low` at least and `low + mask` at most; both are in bounds."""

    low: int
    mask: int


@dataclass(frozen=True, slots=True)
class CagedAccess:
    """Any guest address: to be masked at run time."""


Access = FrameAccess | WindowAccess | ConstantsAccess | CagedAccess
MemoryInstruction = Load | Store | Atomic

MAPPED: Final = (
    (abi.CONTEXT, abi.CONTEXT + abi.CONTEXT_BYTES),
    (abi.STACK, abi.STACK_TOP),
    (abi.HEAP, abi.HEAP + abi.HEAP_BYTES),
)


def check_access(
    slot: int, instruction: MemoryInstruction, base: Value, constants_bytes: int
) -> Access | Refusal:
    """Judge one load, store or atomic operation; the base is initialised."""
    low, high = base.low + instruction.offset, base.high + instruction.offset
    access: Access | Refusal
    match base.region:
        case Region.STACK:
            access = _check_frame(slot, low, high, instruction.size)
        case Region.CONTEXT:
            access = _check_context(slot, low, high, instruction.size)
        case Region.CONSTANTS:
            if not isinstance(instruction, Load):
                return Refusal(Rule.CONSTANTS_WRITE, slot, f"{base} of {constants_bytes} bytes")
            return check_constants(slot, low, high, instruction.size, constants_bytes)
        case Region.MIXED:
            return Refusal(Rule.MIXED_POINTER, slot, f"r{instruction.base.value}")
        case _:
            access = _check_number(slot, base, instruction.offset, instruction.size)
    if isinstance(instruction, Atomic) and isinstance(access, FrameAccess | WindowAccess):
        place = access.distance if isinstance(access, FrameAccess) else access.address
        if place % instruction.size:
            return Refusal(Rule.MISALIGNED_ATOMIC, slot, f"{instruction.size} bytes at {place}")
    return access


def check_constants(
    slot: int, low: int, high: int, size: int, constants_bytes: int
) -> ConstantsAccess | Refusal:
    """Judge a read of `size` bytes from an offset of low to high in the constants."""
    mask = (1 << (high - low).bit_length()) - 1
    if low < 0 or low + mask + size > constants_bytes:
        span = f"{low} to {low + mask + size}" if mask else f"{low}"
        return Refusal(Rule.CONSTANTS_BOUNDS, slot, f"{size} bytes at {span} of {constants_bytes}")
    return ConstantsAccess(low, mask)


def access_hits_stack(access: Access) -> bool:
    """Tell whether an exact guest address lies in the stack, where a frame may be."""
    return isinstance(access, WindowAccess) and abi.STACK - 8 < access.address < abi.STACK_TOP


def _check_frame(slot: int, low: int, high: int, size: int) -> Access | Refusal:
    if high < -abi.FRAME_BYTES or low + size > 0 or (low == high and low < -abi.FRAME_BYTES):
        return Refusal(Rule.STACK_BOUNDS, slot, f"{size} bytes at r10{low:+d}")
    return FrameAccess(low) if low == high else CagedAccess()


def _check_context(slot: int, low: int, high: int, size: int) -> Access | Refusal:
    if high < 0 or low + size > abi.CONTEXT_BYTES or (low == high and low < 0):
        return Refusal(Rule.CONTEXT_BOUNDS, slot, f"{size} bytes at context{low:+d}")
    return WindowAccess(abi.CONTEXT + low) if low == high else CagedAccess()


def _check_number(slot: int, base: Value, offset: int, size: int) -> Access | Refusal:
    if not base.is_exact:
        return CagedAccess()
    address = (base.low & MASK_32) + offset
    if any(start <= address and address + size <= end for start, end in MAPPED):
        return WindowAccess(address)
    return Refusal(Rule.UNMAPPED_ADDRESS, slot, f"{size} bytes at {address:#x}")
