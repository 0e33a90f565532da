"""Bits of eBPF instructions (RFC 9669): bytes in, typed instructions out, and back.

Called by assembler, disassembler, verifier, interpreter and compiler. The rule: one entry for each 8-byte
slot, so that slot numbers, which jumps count in, are indices; what does not decode is an entry of `scan` too
(`Malformed`), so that the verifier can report all of it.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final, NamedTuple

from zeroserve_ir.program.isa import (
    SLOT_BYTES,
    Atomic,
    AtomicOperator,
    Binary,
    Branch,
    ByteOrder,
    CallHelper,
    CallLocal,
    Condition,
    Exit,
    Instruction,
    Jump,
    Load,
    LoadConstants,
    LoadImmediate,
    Malformation,
    Malformed,
    Negate,
    Operator,
    Register,
    SecondHalf,
    SignExtend,
    Slot,
    Store,
    SwapBytes,
)

_SLOT: Final = struct.Struct("<BBhi")
_LDX: Final = 0x01
_ST: Final = 0x02
_STX: Final = 0x03
_ALU: Final = 0x04
_JMP: Final = 0x05
_JMP32: Final = 0x06
_ALU64: Final = 0x07
_X: Final = 0x08
_NEG: Final = 0x8
_MOV: Final = 0xB
_END: Final = 0xD
_MEM: Final = 0x60
_MEMSX: Final = 0x80
_ATOMIC: Final = 0xC0
_LDDW: Final = 0x18
_CALL: Final = 0x85
_CALLX: Final = 0x8D
_EXIT: Final = 0x95
_LOCAL_SOURCE: Final = 1
_CONSTANTS_SOURCE: Final = 6
_REMEMBERED_MAX: Final = 4096
"""Instructions that are decoded once: programs are made of few. One takes some 200 bytes."""
_SIZES: Final = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}
_SIZE_BITS: Final = {size: bits for bits, size in _SIZES.items()}
_REGISTERS: Final = tuple(Register)
_OPERATORS: Final = {(operator.value[1], operator.value[2]): operator for operator in Operator}
_CONDITIONS: Final = {condition.value[1]: condition for condition in Condition}
_BYTE_ORDERS: Final = {order.value[1]: order for order in ByteOrder}
_ATOMICS: Final = {
    operator.value[1] | fetch: operator
    for operator in AtomicOperator
    for fetch in ((0, 1) if operator.value[2] else (1,))
}


class MalformedError(Exception):
    """Code that had to be well formed is not; carries the slot number and the finding."""

    def __init__(self, slot: int, malformed: Malformed) -> None:
        self.slot = slot
        self.malformed = malformed
        super().__init__(f"slot {slot}: {malformed.malformation.value}: {malformed.found}")


_Raw = tuple[int, int, int, int]
"""Opcode, both registers, offset, immediate."""


class _Fields(NamedTuple):
    opcode: int
    destination: int
    source: int
    offset: int
    immediate: int


class _SlotError(Exception):
    def __init__(self, malformation: Malformation, found: str) -> None:
        self.malformation = malformation
        self.found = found
        super().__init__(found)


def scan(code: bytes) -> tuple[Slot, ...]:
    """Decode every slot, malformed ones too; never raises. Trailing bytes give one last CODE_LENGTH entry."""
    slots: list[Slot] = []
    whole = len(code) - len(code) % SLOT_BYTES
    raw: list[_Raw] = list(_SLOT.iter_unpack(code[:whole]))
    while len(slots) < len(raw):
        index = len(slots)
        first, second = raw[index], raw[index + 1] if index + 1 < len(raw) else None
        is_wide = first[0] == _LDDW
        try:
            if is_wide:
                slots += [_decode_wide(_divide(first), _divide(second) if second else None), SecondHalf()]
            else:
                slots.append(_decode_narrow(first))
        except _SlotError as error:
            word = int.from_bytes(code[index * SLOT_BYTES : (index + 1) * SLOT_BYTES], "little")
            slots.append(Malformed(error.malformation, error.found, word))
            if is_wide and second and not second[0]:
                slots.append(SecondHalf())
    if whole != len(code) or not code:
        rest = int.from_bytes(code[whole:], "little")
        slots.append(Malformed(Malformation.CODE_LENGTH, f"{len(code)} bytes", rest))
    return tuple(slots)


def decode(code: bytes) -> tuple[Instruction | SecondHalf, ...]:
    """Decode code that is well formed, an entry a slot; raises MalformedError at the first that is not."""
    slots: list[Instruction | SecondHalf] = []
    for index, slot in enumerate(scan(code)):
        if isinstance(slot, Malformed):
            raise MalformedError(index, slot)
        slots.append(slot)
    return tuple(slots)


def encode(instruction: Instruction) -> bytes:
    """Return the 8 or 16 bytes of an instruction; raises ValueError where a field does not hold its value."""
    match instruction:
        case Binary(operator, bits, destination, operand):
            _, code, offset = operator.value
            opcode = code << 4 | (_ALU64 if bits == 64 else _ALU)
            return _pack_operand(opcode, destination, operand, offset)
        case Negate(bits, destination):
            return _pack(_NEG << 4 | (_ALU64 if bits == 64 else _ALU), destination.number)
        case SignExtend(bits, destination, source, from_bits):
            opcode = _MOV << 4 | _X | (_ALU64 if bits == 64 else _ALU)
            return _pack(opcode, destination.number, source.number, from_bits)
        case SwapBytes(order, bits, destination):
            return _pack(order.value[1], destination.number, immediate=bits)
        case LoadImmediate(destination, value):
            low, high = _signed(value & 0xFFFFFFFF), _signed(value >> 32)
            return _pack(_LDDW, destination.number, immediate=low) + _pack(0, immediate=high)
        case LoadConstants(destination, offset):
            return _pack(_LDDW, destination.number, _CONSTANTS_SOURCE) + _pack(0, immediate=offset)
        case Load(size, signed, destination, base, offset):
            opcode = _LDX | _SIZE_BITS[size] | (_MEMSX if signed else _MEM)
            return _pack(opcode, destination.number, base.number, offset)
        case Store(size, base, offset, Register() as value):
            return _pack(_STX | _SIZE_BITS[size] | _MEM, base.number, value.number, offset)
        case Store(size, base, offset, int() as value):
            return _pack(_ST | _SIZE_BITS[size] | _MEM, base.number, 0, offset, value)
        case Atomic(atomic, size, base, offset, source, fetch):
            immediate = atomic.value[1] | fetch
            return _pack(_STX | _SIZE_BITS[size] | _ATOMIC, base.number, source.number, offset, immediate)
        case Jump(distance, True):
            return _pack(_JMP32, immediate=distance)
        case Jump(distance, False):
            return _pack(_JMP, offset=distance)
        case Branch(condition, bits, left, right, distance):
            opcode = condition.value[1] << 4 | (_JMP if bits == 64 else _JMP32)
            return _pack_operand(opcode, left, right, distance)
        case CallHelper(number):
            return _pack(_CALL, immediate=number)
        case CallLocal(distance):
            return _pack(_CALL, 0, _LOCAL_SOURCE, immediate=distance)
        case Exit():
            return _pack(_EXIT)
    raise AssertionError(instruction)


def _pack(opcode: int, destination: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    try:
        return _SLOT.pack(opcode, destination | source << 4, offset, immediate)
    except struct.error as error:
        name, value, bits = ("immediate", immediate, 32) if _fits(offset, 16) else ("offset", offset, 16)
        raise ValueError(f"{name} {value} does not fit into {bits} bits with its sign") from error


def _fits(value: int, bits: int) -> bool:
    return -(1 << bits - 1) <= value < 1 << bits - 1


def _pack_operand(opcode: int, destination: Register, operand: Register | int, offset: int) -> bytes:
    if isinstance(operand, Register):
        return _pack(opcode | _X, destination.number, operand.value, offset)
    return _pack(opcode, destination.number, 0, offset, operand)


def _signed(half: int) -> int:
    return half - (1 << 32) if half >> 31 else half


def _register(number: int) -> Register:
    if number >= len(_REGISTERS):
        raise _SlotError(Malformation.UNKNOWN_REGISTER, f"r{number}")
    return _REGISTERS[number]


def _require_zero(**fields: int) -> None:
    for name, value in fields.items():
        if value:
            raise _SlotError(Malformation.RESERVED_FIELD, f"{name} is {value}")


def _unknown_opcode(fields: _Fields) -> _SlotError:
    return _SlotError(Malformation.UNKNOWN_OPCODE, f"{fields.opcode:#04x}")


def _decode_wide(first: _Fields, second: _Fields | None) -> LoadImmediate | LoadConstants:
    if second is None:
        raise _SlotError(Malformation.LOAD_IMMEDIATE, "code ends in the middle of it")
    if second.opcode or second.destination or second.source or second.offset:
        raise _SlotError(Malformation.LOAD_IMMEDIATE, "its second slot holds more than an immediate")
    _require_zero(offset=first.offset)
    destination = _register(first.destination)
    if first.source == 0:
        low, high = first.immediate & 0xFFFFFFFF, second.immediate & 0xFFFFFFFF
        return LoadImmediate(destination, low | high << 32)
    if first.source != _CONSTANTS_SOURCE:
        raise _SlotError(Malformation.LOAD_IMMEDIATE, f"source {first.source}, not 0 or {_CONSTANTS_SOURCE}")
    if first.immediate or second.immediate < 0:
        raise _SlotError(Malformation.LOAD_IMMEDIATE, "constants need map 0 and no negative offset")
    return LoadConstants(destination, second.immediate)


def _divide(raw: _Raw) -> _Fields:
    opcode, registers, offset, immediate = raw
    return _Fields(opcode, registers & 0xF, registers >> 4, offset, immediate)


@lru_cache(maxsize=_REMEMBERED_MAX)
def _decode_narrow(raw: _Raw) -> Instruction:
    fields = _divide(raw)
    match fields.opcode & 0x07:
        case 0x04 | 0x07:
            return _decode_arithmetic(fields)
        case 0x05 | 0x06:
            return _decode_jump(fields)
        case 0x01:
            return _decode_load(fields)
        case 0x02 | 0x03:
            return _decode_store(fields)
        case _:
            raise _unknown_opcode(fields)


def _decode_arithmetic(fields: _Fields) -> Instruction:
    bits = 64 if fields.opcode & 0x07 == _ALU64 else 32
    code, by_register = fields.opcode >> 4, bool(fields.opcode & _X)
    if code == _END:
        return _decode_swap(fields)
    if code == _NEG:
        if by_register:
            raise _unknown_opcode(fields)
        _require_zero(source=fields.source, offset=fields.offset, immediate=fields.immediate)
        return Negate(bits, _register(fields.destination))
    if code == _MOV and by_register and fields.offset:
        if fields.offset not in ((8, 16, 32) if bits == 64 else (8, 16)):
            raise _SlotError(Malformation.RESERVED_FIELD, f"offset is {fields.offset}")
        _require_zero(immediate=fields.immediate)
        return SignExtend(bits, _register(fields.destination), _register(fields.source), fields.offset)
    operator = _OPERATORS.get((code, fields.offset))
    if operator is None:
        if (code, 0) not in _OPERATORS:
            raise _unknown_opcode(fields)
        raise _SlotError(Malformation.RESERVED_FIELD, f"offset is {fields.offset}")
    return Binary(operator, bits, _register(fields.destination), _decode_operand(fields))


def _decode_operand(fields: _Fields) -> Register | int:
    if fields.opcode & _X:
        _require_zero(immediate=fields.immediate)
        return _register(fields.source)
    _require_zero(source=fields.source)
    return fields.immediate


def _decode_swap(fields: _Fields) -> SwapBytes:
    order = _BYTE_ORDERS.get(fields.opcode)
    if order is None:
        raise _unknown_opcode(fields)
    _require_zero(source=fields.source, offset=fields.offset)
    if fields.immediate not in (16, 32, 64):
        raise _SlotError(Malformation.RESERVED_FIELD, f"swap of {fields.immediate} bits")
    return SwapBytes(order, fields.immediate, _register(fields.destination))


def _decode_jump(fields: _Fields) -> Instruction:
    long = fields.opcode & 0x07 == _JMP32
    if fields.opcode == _EXIT:
        _require_zero(
            destination=fields.destination,
            source=fields.source,
            offset=fields.offset,
            immediate=fields.immediate,
        )
        return Exit()
    if fields.opcode in (_CALL, _CALLX):
        return _decode_call(fields)
    if fields.opcode in (_JMP, _JMP32):
        _require_zero(destination=fields.destination, source=fields.source)
        _require_zero(**({"offset": fields.offset} if long else {"immediate": fields.immediate}))
        return Jump(fields.immediate if long else fields.offset, long)
    condition = _CONDITIONS.get(fields.opcode >> 4)
    if condition is None:
        raise _unknown_opcode(fields)
    left = _register(fields.destination)
    return Branch(condition, 32 if long else 64, left, _decode_operand(fields), fields.offset)


def _decode_call(fields: _Fields) -> CallHelper | CallLocal:
    if fields.opcode == _CALLX:
        raise _SlotError(Malformation.CALL_BY_REGISTER, f"r{fields.destination or fields.immediate}")
    _require_zero(destination=fields.destination, offset=fields.offset)
    if fields.source == 0:
        return CallHelper(fields.immediate)
    if fields.source == _LOCAL_SOURCE:
        return CallLocal(fields.immediate)
    raise _SlotError(Malformation.CALL_KIND, f"source {fields.source}")


def _decode_load(fields: _Fields) -> Load:
    mode, size = fields.opcode & 0xE0, _SIZES[fields.opcode & 0x18]
    if mode not in (_MEM, _MEMSX) or (mode == _MEMSX and size == 8):
        raise _unknown_opcode(fields)
    _require_zero(immediate=fields.immediate)
    return Load(size, mode == _MEMSX, _register(fields.destination), _register(fields.source), fields.offset)


def _decode_store(fields: _Fields) -> Store | Atomic:
    mode, size = fields.opcode & 0xE0, _SIZES[fields.opcode & 0x18]
    by_register = fields.opcode & 0x07 == _STX
    if mode == _MEM:
        if by_register:
            _require_zero(immediate=fields.immediate)
            return Store(size, _register(fields.destination), fields.offset, _register(fields.source))
        _require_zero(source=fields.source)
        return Store(size, _register(fields.destination), fields.offset, fields.immediate)
    if mode != _ATOMIC or not by_register or size < 4:
        raise _unknown_opcode(fields)
    base, source = _register(fields.destination), _register(fields.source)
    operator = _ATOMICS.get(fields.immediate)
    if operator is None:
        raise _SlotError(Malformation.ATOMIC_OPERATION, f"{fields.immediate:#x}")
    return Atomic(operator, size, base, fields.offset, source, bool(fields.immediate & 1))
