"""The eBPF instruction set (RFC 9669) as types, which all later stages match on; `encoding` has the bits.

Conformance groups base32, base64, atomic32, atomic64, divmul32 and divmul64; not `packet`, which is
deprecated, and not callx, which no verifier could follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

SLOT_BYTES: Final = 8
"""Code is a row of slots; jumps and slot numbers count in them."""


class Register(Enum):
    """r0 the result, r1 to r5 arguments, r6 to r9 kept over calls, r10 the frame's top (read-only)."""

    number: int
    """What `value` is, without the price of an enumeration's property: the verifier asks a million times."""

    def __init__(self, number: int) -> None:
        self.number = number

    R0 = 0
    R1 = 1
    R2 = 2
    R3 = 3
    R4 = 4
    R5 = 5
    R6 = 6
    R7 = 7
    R8 = 8
    R9 = 9
    R10 = 10


R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = Register


class Operator(Enum):
    """Arithmetic with two operands: (name, bits 4 to 7 of the opcode, offset field). RFC 9669, 4.1."""

    ADD = ("add", 0x0, 0)
    SUB = ("sub", 0x1, 0)
    MUL = ("mul", 0x2, 0)
    DIV = ("div", 0x3, 0)
    SDIV = ("sdiv", 0x3, 1)
    OR = ("or", 0x4, 0)
    AND = ("and", 0x5, 0)
    LSH = ("lsh", 0x6, 0)
    RSH = ("rsh", 0x7, 0)
    MOD = ("mod", 0x9, 0)
    SMOD = ("smod", 0x9, 1)
    XOR = ("xor", 0xA, 0)
    MOV = ("mov", 0xB, 0)
    ARSH = ("arsh", 0xC, 0)


class Condition(Enum):
    """What a branch compares: (name, code in bits 4 to 7 of the opcode). RFC 9669, 4.3."""

    EQUAL = ("jeq", 0x1)
    GREATER = ("jgt", 0x2)
    GREATER_EQUAL = ("jge", 0x3)
    SET = ("jset", 0x4)
    NOT_EQUAL = ("jne", 0x5)
    SIGNED_GREATER = ("jsgt", 0x6)
    SIGNED_GREATER_EQUAL = ("jsge", 0x7)
    LESS = ("jlt", 0xA)
    LESS_EQUAL = ("jle", 0xB)
    SIGNED_LESS = ("jslt", 0xC)
    SIGNED_LESS_EQUAL = ("jsle", 0xD)


class ByteOrder(Enum):
    """Kind of byte swap: (name, opcode). RFC 9669, 4.2."""

    LITTLE = ("le", 0xD4)
    BIG = ("be", 0xDC)
    SWAP = ("swap", 0xD7)


class AtomicOperator(Enum):
    """Atomic operations: (name, immediate without FETCH, whether FETCH is optional). RFC 9669, 5.3."""

    ADD = ("add", 0x00, True)
    OR = ("or", 0x40, True)
    AND = ("and", 0x50, True)
    XOR = ("xor", 0xA0, True)
    XCHG = ("xchg", 0xE0, False)
    CMPXCHG = ("cmpxchg", 0xF0, False)


@dataclass(frozen=True, slots=True)
class Binary:
    """destination = destination OPERATOR operand; 32-bit forms clear the upper half."""

    operator: Operator
    bits: int
    destination: Register
    operand: Register | int


@dataclass(frozen=True, slots=True)
class Negate:
    """destination = -destination."""

    bits: int
    destination: Register


@dataclass(frozen=True, slots=True)
class SignExtend:
    """destination = the low `from_bits` of source, sign-extended to `bits`."""

    bits: int
    destination: Register
    source: Register
    from_bits: int


@dataclass(frozen=True, slots=True)
class SwapBytes:
    """destination = its low `bits` in the given byte order."""

    order: ByteOrder
    bits: int
    destination: Register


@dataclass(frozen=True, slots=True)
class LoadImmediate:
    """destination = a 64-bit value, 0 <= value < 2**64; two slots."""

    destination: Register
    value: int


@dataclass(frozen=True, slots=True)
class LoadConstants:
    """destination = abi.CONSTANTS + offset, 0 <= offset < 2**31; two slots, map 0 of RFC 9669, 5.4."""

    destination: Register
    offset: int


@dataclass(frozen=True, slots=True)
class Load:
    """destination = memory at base + offset; `size` in bytes."""

    size: int
    signed: bool
    destination: Register
    base: Register
    offset: int


@dataclass(frozen=True, slots=True)
class Store:
    """memory at base + offset = value; `size` in bytes."""

    size: int
    base: Register
    offset: int
    value: Register | int


@dataclass(frozen=True, slots=True)
class Atomic:
    """memory at base + offset changes atomically; with `fetch`, source (CMPXCHG: r0) gets the old value."""

    operator: AtomicOperator
    size: int
    base: Register
    offset: int
    source: Register
    fetch: bool


@dataclass(frozen=True, slots=True)
class Jump:
    """Goes to the slot after this one plus `distance`; `long` is the 32-bit form."""

    distance: int
    long: bool


@dataclass(frozen=True, slots=True)
class Branch:
    """Goes to the slot after this one plus `distance` where the condition holds."""

    condition: Condition
    bits: int
    left: Register
    right: Register | int
    distance: int


@dataclass(frozen=True, slots=True)
class CallHelper:
    """r0 = helper `number` of abi.HELPERS, called with r1 to r5."""

    number: int


@dataclass(frozen=True, slots=True)
class CallLocal:
    """r0 = the subprogram at the slot after this one plus `distance`, called with r1 to r5."""

    distance: int


@dataclass(frozen=True, slots=True)
class Exit:
    """Returns r0."""


Instruction = (
    Binary
    | Negate
    | SignExtend
    | SwapBytes
    | LoadImmediate
    | LoadConstants
    | Load
    | Store
    | Atomic
    | Jump
    | Branch
    | CallHelper
    | CallLocal
    | Exit
)


@dataclass(frozen=True, slots=True)
class SecondHalf:
    """The second slot of LoadImmediate and LoadConstants; nothing may jump here."""


class Malformation(Enum):
    """Why a slot is no instruction."""

    CODE_LENGTH = "code is not a positive multiple of 8 bytes"
    UNKNOWN_OPCODE = "unknown opcode"
    RESERVED_FIELD = "reserved field is not zero"
    UNKNOWN_REGISTER = "register above r10"
    CALL_BY_REGISTER = "call through a register"
    CALL_KIND = "unknown kind of call"
    LOAD_IMMEDIATE = "malformed 64-bit load"
    ATOMIC_OPERATION = "unknown atomic operation"


@dataclass(frozen=True, slots=True)
class Malformed:
    """A slot that is no instruction: why, what was found, and its eight bytes as a number."""

    malformation: Malformation
    found: str
    word: int


Slot = Instruction | SecondHalf | Malformed


def count_slots(instruction: Instruction) -> int:
    """Return how many 8-byte slots the instruction takes: 1 or 2."""
    return 2 if isinstance(instruction, LoadImmediate | LoadConstants) else 1
