"""Abstract values: what the verifier knows of a register.

A value is a region and an interval: of the number itself (NUMBER), or of the distance from the region's base.
The rule that makes it hold under misprediction too: intervals come from data flow only (masks, shifts, sizes
of loads), never from the branch that was taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from zeroserve_ir.program.arithmetic import MASK_32, MASK_64, calculate, sign
from zeroserve_ir.program.isa import Operator


class Region(Enum):
    """What a register points to, if anything."""

    UNINITIALISED = "not written"
    NUMBER = "a number"
    STACK = "the stack"
    CONTEXT = "the context"
    CONSTANTS = "the constants"
    MIXED = "the constants on some paths only"


@dataclass(frozen=True, slots=True)
class Value:
    """A region with the lowest and highest number or distance, both inclusive, as signed 64-bit numbers."""

    region: Region
    low: int = 0
    high: int = 0

    @property
    def is_exact(self) -> bool:
        """Whether only one value is possible."""
        return self.low == self.high and self.region is not Region.UNINITIALISED

    @property
    def is_constants(self) -> bool:
        """Whether the value leads to the constants, or may."""
        return self.region in (Region.CONSTANTS, Region.MIXED)

    @property
    def is_number(self) -> bool:
        """Whether the value is a number, or a pointer that is caged like one."""
        return self.region is Region.NUMBER

    def __str__(self) -> str:
        if self.region in (Region.UNINITIALISED, Region.MIXED) or self == UNKNOWN:
            return self.region.value
        interval = f"{self.low}" if self.is_exact else f"{self.low} to {self.high}"
        return interval if self.is_number else f"{self.region.value} at {interval}"


SIGNED_MIN: Final = -(1 << 63)
SIGNED_MAX: Final = (1 << 63) - 1
DISTANCE_MAX: Final = 1 << 31
"""Pointers whose distance may be larger are not tracked: no access with them could be in bounds."""
UNINITIALISED: Final = Value(Region.UNINITIALISED)
MIXED: Final = Value(Region.MIXED)
UNKNOWN: Final = Value(Region.NUMBER, SIGNED_MIN, SIGNED_MAX)
UNKNOWN_32: Final = Value(Region.NUMBER, 0, MASK_32)


def exactly(number: int) -> Value:
    """Return the value that is one number, given as any 64-bit pattern."""
    number = sign(number, 64)
    return Value(Region.NUMBER, number, number)


def between(low: int, high: int) -> Value:
    """Return an interval of numbers, or UNKNOWN where it overflows."""
    return Value(Region.NUMBER, low, high) if SIGNED_MIN <= low <= high <= SIGNED_MAX else UNKNOWN


def join(left: Value, right: Value) -> Value:
    """Return what holds of both."""
    if left is right or left == right:
        return left
    if Region.UNINITIALISED in (left.region, right.region):
        return UNINITIALISED
    if left.region is right.region:
        return Value(left.region, min(left.low, right.low), max(left.high, right.high))
    return MIXED if left.is_constants or right.is_constants else UNKNOWN


def widen(old: Value, new: Value) -> Value:
    """Return a value above both at which loops come to rest."""
    if old is new or old == new:
        return old
    joined = join(old, new)
    if joined.region in (Region.UNINITIALISED, Region.MIXED):
        return joined
    return MIXED if joined.is_constants else UNKNOWN


def apply(operator: Operator, bits: int, left: Value, right: Value) -> Value:
    """Return what an operation gives; both operands are initialised."""
    if operator is Operator.MOV and bits == 64:
        return right
    if bits == 64 and (not left.is_number or not right.is_number):
        return _apply_to_pointer(operator, left, right)
    if left.is_constants or right.is_constants:
        return MIXED
    if bits == 32:
        left, right = _truncate(left), _truncate(right)
    if left.is_exact and right.is_exact:
        return exactly(calculate(operator, bits, left.low & MASK_64, right.low & MASK_64))
    result = _apply_to_numbers(operator, bits, left, right)
    if bits == 64:
        return result
    return result if result.low >= 0 and result.high <= MASK_32 else UNKNOWN_32


def negate(bits: int, value: Value) -> Value:
    """Return what a negation gives."""
    return apply(Operator.SUB, bits, exactly(0), value)


def forget(value: Value) -> Value:
    """Return what is left of a value after an operation that is not followed."""
    return MIXED if value.is_constants else UNKNOWN


def load_range(size: int, *, signed: bool) -> Value:
    """Return what `size` bytes of unknown memory give."""
    bits = size * 8
    if signed:
        return between(-(1 << bits - 1), (1 << bits - 1) - 1)
    return between(0, (1 << bits) - 1)


def _truncate(value: Value) -> Value:
    """Return the low 32 bits."""
    if not value.is_number:
        return UNKNOWN_32
    if value.is_exact:
        return exactly(value.low & MASK_32)
    return value if value.low >= 0 and value.high <= MASK_32 else UNKNOWN_32


def _apply_to_pointer(operator: Operator, left: Value, right: Value) -> Value:
    if operator is Operator.ADD and left.is_number:
        left, right = right, left
    if operator is Operator.SUB and left.region is right.region and left.region is not Region.MIXED:
        return between(left.low - right.high, left.high - right.low)
    if operator in (Operator.ADD, Operator.SUB) and right.is_number and left.region is not Region.MIXED:
        low, high = (right.low, right.high) if operator is Operator.ADD else (-right.high, -right.low)
        if left.low + low >= -DISTANCE_MAX and left.high + high <= DISTANCE_MAX:
            return Value(left.region, left.low + low, left.high + high)
    return MIXED if left.is_constants or right.is_constants else UNKNOWN


def _apply_to_numbers(operator: Operator, bits: int, left: Value, right: Value) -> Value:
    """Return the interval, not yet brought into 32 bits."""
    positive = left.low >= 0 and right.low >= 0
    shift = right.low if right.is_exact and 0 <= right.low < bits else None
    match operator:
        case Operator.MOV:
            return right
        case Operator.ADD:
            return between(left.low + right.low, left.high + right.high)
        case Operator.SUB:
            return between(left.low - right.high, left.high - right.low)
        case Operator.AND if positive:
            return between(0, min(left.high, right.high))
        case Operator.AND if left.low >= 0 or right.low >= 0:
            return between(0, right.high if right.low >= 0 else left.high)
        case Operator.OR | Operator.XOR if positive:
            return between(0, (1 << max(left.high, right.high).bit_length()) - 1)
        case Operator.MUL if positive:
            return between(left.low * right.low, left.high * right.high)
        case Operator.LSH if positive and shift is not None:
            return between(left.low << shift, left.high << shift)
        case Operator.RSH if left.low >= 0 and shift is not None:
            return between(left.low >> shift, left.high >> shift)
        case Operator.RSH if shift:
            return between(0, MASK_64 >> shift)
        case Operator.ARSH if bits == 64 and shift is not None:
            return between(left.low >> shift, left.high >> shift)
        case Operator.DIV if left.low >= 0 and right.low > 0:
            return between(left.low // right.high, left.high // right.low)
        case Operator.MOD if right.low > 0:
            return between(0, right.high - 1)
        case _:
            return UNKNOWN
