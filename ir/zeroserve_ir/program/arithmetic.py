"""What eBPF arithmetic computes (RFC 9669, 4): numbers in, numbers out; the one definition in Python.

Registers are unsigned 64-bit numbers here. Called by the reference interpreter for every instruction and by
the verifier for operands that it knows exactly.
"""

from __future__ import annotations

from zeroserve_ir.program.isa import AtomicOperator, ByteOrder, Condition, Operator

MASK_32 = 0xFFFF_FFFF
MASK_64 = 0xFFFF_FFFF_FFFF_FFFF


def sign(value: int, bits: int) -> int:
    """Read the low bits as a two's complement number."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def calculate(operator: Operator, bits: int, left: int, right: int) -> int:
    """Return left OPERATOR right in 32 or 64 bits, zero-extended; division by zero is defined."""
    mask = MASK_64 if bits == 64 else MASK_32
    left &= mask
    right &= mask
    match operator:
        case Operator.ADD:
            return left + right & mask
        case Operator.SUB:
            return left - right & mask
        case Operator.MUL:
            return left * right & mask
        case Operator.OR:
            return left | right
        case Operator.AND:
            return left & right
        case Operator.XOR:
            return left ^ right
        case Operator.MOV:
            return right
        case Operator.LSH:
            return left << (right & bits - 1) & mask
        case Operator.RSH:
            return left >> (right & bits - 1)
        case Operator.ARSH:
            return sign(left, bits) >> (right & bits - 1) & mask
        case Operator.DIV:
            return left // right if right else 0
        case Operator.MOD:
            return left % right if right else left
        case Operator.SDIV:
            return _divide_signed(sign(left, bits), sign(right, bits)) & mask if right else 0
        case Operator.SMOD:
            if not right:
                return left
            dividend, divisor = sign(left, bits), sign(right, bits)
            return dividend - divisor * _divide_signed(dividend, divisor) & mask


def swap_bytes(order: ByteOrder, bits: int, value: int) -> int:
    """Return the low bits in an order, on a machine that is little-endian."""
    value &= (1 << bits) - 1
    if order is ByteOrder.LITTLE:
        return value
    return int.from_bytes(value.to_bytes(bits // 8, "little"), "big")


def holds(condition: Condition, bits: int, left: int, right: int) -> bool:
    """Tell whether a branch is taken."""
    mask = MASK_64 if bits == 64 else MASK_32
    left &= mask
    right &= mask
    match condition:
        case Condition.EQUAL:
            return left == right
        case Condition.NOT_EQUAL:
            return left != right
        case Condition.GREATER:
            return left > right
        case Condition.GREATER_EQUAL:
            return left >= right
        case Condition.LESS:
            return left < right
        case Condition.LESS_EQUAL:
            return left <= right
        case Condition.SET:
            return bool(left & right)
        case Condition.SIGNED_GREATER:
            return sign(left, bits) > sign(right, bits)
        case Condition.SIGNED_GREATER_EQUAL:
            return sign(left, bits) >= sign(right, bits)
        case Condition.SIGNED_LESS:
            return sign(left, bits) < sign(right, bits)
        case Condition.SIGNED_LESS_EQUAL:
            return sign(left, bits) <= sign(right, bits)


def change_atomically(operator: AtomicOperator, bits: int, old: int, source: int, expected: int) -> int:
    """Return what memory holds after an atomic operation; `expected` is r0, for CMPXCHG."""
    mask = (1 << bits) - 1
    source &= mask
    match operator:
        case AtomicOperator.ADD:
            return old + source & mask
        case AtomicOperator.OR:
            return old | source
        case AtomicOperator.AND:
            return old & source
        case AtomicOperator.XOR:
            return old ^ source
        case AtomicOperator.XCHG:
            return source
        case AtomicOperator.CMPXCHG:
            return source if old == expected & mask else old


def _divide_signed(dividend: int, divisor: int) -> int:
    """Divide towards zero, as RFC 9669 says of SDIV and SMOD."""
    quotient = abs(dividend) // abs(divisor)
    return quotient if (dividend < 0) == (divisor < 0) else -quotient
