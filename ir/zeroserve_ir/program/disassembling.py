"""Prints eBPF: code in, text out that `assembly` reads back to the same bytes.

Called by `zeroserve bpf dis`, `compile --emit bpf` and golden files. The rule: any bytes can be printed;
slots that are no instruction become `.slot` with the reason beside it.
"""

from __future__ import annotations

from zeroserve_ir.program import abi
from zeroserve_ir.program.encoding import scan
from zeroserve_ir.program.isa import (
    SLOT_BYTES,
    Atomic,
    Binary,
    Branch,
    CallHelper,
    CallLocal,
    Exit,
    Instruction,
    Jump,
    Load,
    LoadConstants,
    LoadImmediate,
    Malformation,
    Malformed,
    Negate,
    Register,
    SecondHalf,
    SignExtend,
    Slot,
    Store,
    SwapBytes,
)


def disassemble(code: bytes, lines: dict[int, str] | None = None) -> str:
    """Return assembly text with labels `L<slot>`; `lines` are places in the source by slot, as comments.

    Bytes beyond the last whole slot have no text and are left out.
    """
    slots = scan(code)
    if len(code) % SLOT_BYTES or not code:
        slots = slots[:-1]
    targets = {target for index, slot in enumerate(slots) if (target := _target(index, slot)) is not None}
    labels = {target for target in targets if 0 <= target <= len(slots)}
    rows: list[str] = []
    for index, slot in enumerate(slots):
        if isinstance(slot, SecondHalf):
            # A jump into the middle keeps its distance instead of a label.
            labels.discard(index)
    for index, slot in enumerate(slots):
        if index in labels:
            rows.append(f"L{index}:")
        if lines and index in lines:
            rows.append(f"    # {lines[index]}")
        if not isinstance(slot, SecondHalf):
            rows.append(f"    {format_slot(slot, index, labels)}")
        elif isinstance(slots[index - 1], Malformed):
            word = int.from_bytes(code[index * SLOT_BYTES : (index + 1) * SLOT_BYTES], "little")
            rows.append(f"    .slot {word:#018x}  # its second slot")
    if len(slots) in labels:
        rows.append(f"L{len(slots)}:")
    return "\n".join(rows) + "\n" if rows else ""


def format_constants(constants: bytes) -> str:
    """Return the lines that `assembly` reads a program's constants from."""
    pieces = (constants[at : at + _LINE_BYTES] for at in range(0, len(constants), _LINE_BYTES))
    return "".join(f".constants {piece.hex()}\n" for piece in pieces)


def format_slot(slot: Instruction | Malformed, index: int, labels: set[int]) -> str:
    """Return one instruction as text; targets that are not among the labels stay distances."""
    match slot:
        case Malformed(Malformation.CODE_LENGTH, found, _):
            return f"# {found}"
        case Malformed(malformation, found, word):
            return f".slot {word:#018x}  # {malformation.value}: {found}"
        case Jump(_, long):
            return f"ja{'32' if long else ''} {_aim(slot, index, labels)}"
        case Branch(condition, bits, left, right, _):
            name = condition.value[0] + _suffix(bits)
            return f"{name} {_name(left)}, {_operand(right)}, {_aim(slot, index, labels)}"
        case CallLocal():
            return f"call local {_aim(slot, index, labels)}"
        case CallHelper(number):
            return f"call {abi.BY_NUMBER[number].name if number in abi.BY_NUMBER else number}"
        case Exit():
            return "exit"
        case Load() | Store() | Atomic() | LoadImmediate() | LoadConstants():
            return _format_memory(slot)
        case _:
            return _format_arithmetic(slot)


def _format_memory(instruction: Load | Store | Atomic | LoadImmediate | LoadConstants) -> str:
    match instruction:
        case LoadImmediate(destination, value):
            return f"lddw {_name(destination)}, {value:#x}"
        case LoadConstants(destination, offset):
            return f"lddw {_name(destination)}, constants+{offset}"
        case Load(size, signed, destination, base, offset):
            mnemonic = f"ldx{'s' if signed else ''}{_SIZES[size]}"
            return f"{mnemonic} {_name(destination)}, {_address(base, offset)}"
        case Store(size, base, offset, value):
            mnemonic = f"st{'x' if isinstance(value, Register) else ''}{_SIZES[size]}"
            return f"{mnemonic} {_address(base, offset)}, {_operand(value)}"
        case Atomic(operator, size, base, offset, source, fetch):
            name = operator.value[0] + ("32" if size == 4 else "")
            prefix = "fetch " if fetch and operator.value[2] else ""
            return f"lock {prefix}{name} {_address(base, offset)}, {_name(source)}"


def _format_arithmetic(instruction: Binary | Negate | SignExtend | SwapBytes) -> str:
    match instruction:
        case Binary(operator, bits, destination, operand):
            return f"{operator.value[0]}{_suffix(bits)} {_name(destination)}, {_operand(operand)}"
        case Negate(bits, destination):
            return f"neg{_suffix(bits)} {_name(destination)}"
        case SignExtend(bits, destination, source, from_bits):
            return f"movsx{from_bits}{bits} {_name(destination)}, {_name(source)}"
        case SwapBytes(order, bits, destination):
            return f"{order.value[0]}{bits} {_name(destination)}"


def _target(index: int, slot: Slot) -> int | None:
    if isinstance(slot, Jump | Branch | CallLocal):
        return index + 1 + slot.distance
    return None


def _aim(slot: Jump | Branch | CallLocal, index: int, labels: set[int]) -> str:
    target = index + 1 + slot.distance
    return f"L{target}" if target in labels else f"{slot.distance:+d}"


def _address(base: Register, offset: int) -> str:
    return f"[{_name(base)}{offset:+d}]" if offset else f"[{_name(base)}]"


def _operand(operand: Register | int) -> str:
    return _name(operand) if isinstance(operand, Register) else str(operand)


def _name(register: Register) -> str:
    return f"%r{register.value}"


def _suffix(bits: int) -> str:
    return "32" if bits == 32 else ""


_SIZES = {1: "b", 2: "h", 4: "w", 8: "dw"}
_LINE_BYTES = 32
"""Of constants in a line of text."""
