"""Writes eBPF: calls of the lowering in, code out; labels become distances at the end.

Called by lowering and by `assembly`, which reads text. The rule: an Assembler can write anything that
encodes, sound or not; the verifier judges.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from zeroserve_ir.program import abi
from zeroserve_ir.program.encoding import encode
from zeroserve_ir.program.isa import (
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
    Negate,
    Operator,
    Register,
    SignExtend,
    Store,
    SwapBytes,
    count_slots,
)

OPERATORS: Final = {operator.value[0]: operator for operator in Operator}
CONDITIONS: Final = {condition.value[0]: condition for condition in Condition}
BYTE_ORDERS: Final = {order.value[0]: order for order in ByteOrder}
ATOMIC_OPERATORS: Final = {operator.value[0]: operator for operator in AtomicOperator}


class AssemblyError(Exception):
    """What was to be written has no encoding: an unknown name, a label that is missing or too far."""

    def __init__(self, message: str, slot: int | None = None) -> None:
        self.slot = slot
        super().__init__(message)


@dataclass(slots=True)
class Assembler:
    """Collects instructions; `finish` returns their bytes. Positions and distances count in 8-byte slots."""

    position: int = 0
    """Slot number of the next instruction."""
    labels: dict[str, int] = field(default_factory=dict)
    _pieces: list[tuple[int, Instruction | bytes, str]] = field(default_factory=list)

    def label(self, name: str) -> None:
        """Bind a name to the next instruction; raises AssemblyError when it is bound already."""
        if name in self.labels:
            raise AssemblyError(f"label {name} is defined twice")
        self.labels[name] = self.position

    def write(self, instruction: Instruction, label: str = "") -> None:
        """Append an instruction; with a label, a jump, branch or local call goes there."""
        self._pieces.append((self.position, instruction, label))
        self.position += count_slots(instruction)

    def write_slot(self, word: int) -> None:
        """Append eight bytes as they are, least significant first."""
        self._pieces.append((self.position, word.to_bytes(8, "little"), ""))
        self.position += 1

    def mov(self, destination: Register, operand: Register | int, bits: int = 64) -> None:
        """Write destination = operand; a number is 32 bits, sign-extended."""
        self.alu("mov", destination, operand, bits)

    def alu(self, name: str, destination: Register, operand: Register | int, bits: int = 64) -> None:
        """Write destination = destination NAME operand: add, sub, mul, div, sdiv, or, and, lsh, rsh, ..."""
        operator = OPERATORS.get(name)
        if operator is None:
            raise AssemblyError(f"unknown operation {name}")
        self.write(Binary(operator, bits, destination, _wrap_immediate(operand)))

    def negate(self, destination: Register, bits: int = 64) -> None:
        """Write destination = -destination."""
        self.write(Negate(bits, destination))

    def sign_extend(self, destination: Register, source: Register, from_bits: int, bits: int = 64) -> None:
        """Write destination = the low bits of source with their sign."""
        self.write(SignExtend(bits, destination, source, from_bits))

    def swap_bytes(self, name: str, destination: Register, bits: int) -> None:
        """Write a byte swap: le, be or swap, of 16, 32 or 64 bits."""
        self.write(SwapBytes(BYTE_ORDERS[name], bits, destination))

    def load_immediate(self, destination: Register, value: int) -> None:
        """Write destination = a 64-bit number, in one slot where its sign-extended low half is enough."""
        if -(1 << 31) <= value < 1 << 31:
            self.mov(destination, value)
        else:
            self.write(LoadImmediate(destination, value & (1 << 64) - 1))

    def load_constants(self, destination: Register, offset: int) -> None:
        """Write destination = address of a byte of the constants."""
        self.write(LoadConstants(destination, offset))

    def load(
        self, destination: Register, base: Register, offset: int, size: int, *, signed: bool = False
    ) -> None:
        """Write destination = `size` bytes of memory at base + offset."""
        self.write(Load(size, signed, destination, base, offset))

    def store(self, base: Register, offset: int, value: Register | int, size: int) -> None:
        """Write `size` bytes of memory at base + offset = value."""
        self.write(Store(size, base, offset, _wrap_immediate(value)))

    def atomic(
        self, name: str, base: Register, offset: int, source: Register, size: int = 8, *, fetch: bool = False
    ) -> None:
        """Write an atomic add, or, and, xor, xchg or cmpxchg; the last two always fetch."""
        operator = ATOMIC_OPERATORS.get(name)
        if operator is None:
            raise AssemblyError(f"unknown atomic operation {name}")
        self.write(Atomic(operator, size, base, offset, source, fetch or not operator.value[2]))

    def jump(self, label: str) -> None:
        """Write a jump to a label, in the 32-bit form where it is far."""
        self.write(Jump(0, long=False), label)

    def jump_if(self, name: str, left: Register, right: Register | int, label: str, bits: int = 64) -> None:
        """Write a jump to a label when left NAME right: jeq, jne, jgt, jge, jlt, jle, jset, jsgt, ..."""
        condition = CONDITIONS.get(name)
        if condition is None:
            raise AssemblyError(f"unknown condition {name}")
        self.write(Branch(condition, bits, left, _wrap_immediate(right), 0), label)

    def call(self, helper: str) -> None:
        """Write a call of a helper of abi.HELPERS by name."""
        known = abi.BY_NAME.get(helper)
        if known is None:
            raise AssemblyError(f"unknown helper {helper}")
        self.write(CallHelper(known.number))

    def call_local(self, label: str) -> None:
        """Write a call of a subprogram."""
        self.write(CallLocal(0), label)

    def exit(self) -> None:
        """Write the return of r0."""
        self.write(Exit())

    def finish(self) -> bytes:
        """Return the code; raises AssemblyError for labels that are missing and fields that overflow."""
        return b"".join(
            piece if isinstance(piece, bytes) else self._encode(position, piece, label)
            for position, piece, label in self._pieces
        )

    def _encode(self, position: int, instruction: Instruction, label: str) -> bytes:
        if label:
            instruction = self._aim(position, instruction, label)
        try:
            return encode(instruction)
        except ValueError as error:
            raise AssemblyError(f"slot {position}: {error}", position) from error

    def _aim(self, position: int, instruction: Instruction, label: str) -> Instruction:
        if label not in self.labels:
            raise AssemblyError(f"label {label} is not defined", position)
        distance = self.labels[label] - position - 1
        match instruction:
            case Jump(_, long):
                return Jump(distance, long or not -(1 << 15) <= distance < 1 << 15)
            case Branch() | CallLocal():
                return replace(instruction, distance=distance)
            case _:
                raise AssemblyError(f"{type(instruction).__name__} goes to no label", position)


def _wrap_immediate(operand: Register | int) -> Register | int:
    """Let 0x80000000 to 0xffffffff stand for the negative number of the same bits, as other assemblers do."""
    if isinstance(operand, int) and 1 << 31 <= operand < 1 << 32:
        return operand - (1 << 32)
    return operand
