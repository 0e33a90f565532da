"""LLVM IR of single instructions: arithmetic, comparisons, memory.

Called by `translating` for each instruction of a block. The rule of memory: exact places are constants; all
other addresses go through an empty inline assembly and then a mask, since LLVM would delete a mask which a
branch implies, and a mispredicted branch would then read anywhere (Spectre v1).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from zeroserve_ir.program import abi
from zeroserve_ir.program.arithmetic import MASK_32, sign
from zeroserve_ir.program.isa import (
    Atomic,
    AtomicOperator,
    Binary,
    Branch,
    ByteOrder,
    Condition,
    Load,
    Negate,
    Operator,
    Register,
    SignExtend,
    Store,
    SwapBytes,
)

from zeroserve_dataplane.verifier.accesses import (
    Access,
    CagedAccess,
    ConstantsAccess,
    FrameAccess,
    WindowAccess,
)


@dataclass(slots=True)
class Writer:
    """IR of one function: its lines, and the registers' current values within a block."""

    frame_top: str
    """r10: a number in the main program, a parameter elsewhere."""
    lines: list[str] = field(default_factory=list)
    _count: int = 0
    _values: dict[Register, str] = field(default_factory=dict)
    _changed: set[Register] = field(default_factory=set)
    _caged: dict[str, str] = field(default_factory=dict)

    def add(self, line: str) -> None:
        """Append a line that gives no value."""
        self.lines.append(f"  {line}")

    def emit(self, expression: str) -> str:
        """Append an instruction and return the name of its value."""
        self._count += 1
        name = f"%t{self._count}"
        self.lines.append(f"  {name} = {expression}")
        return name

    def begin_block(self, label: str) -> None:
        """Start a block: registers are in their memory cells."""
        self.lines.append(f"{label}:")
        self._values = {Register.R10: self.frame_top}
        self._changed.clear()
        self._caged.clear()

    def flush(self) -> None:
        """Write changed registers back to their cells, before a block ends."""
        for register in sorted(self._changed, key=lambda changed: changed.number):
            self.add(f"store i64 {self._values[register]}, ptr %r{register.number}")

    def get(self, register: Register) -> str:
        """Return a register's value, 64 bits."""
        value = self._values.get(register)
        if value is None:
            value = self.emit(f"load i64, ptr %r{register.number}")
            self._values[register] = value
        return value

    def set(self, register: Register, value: str) -> None:
        """Give a register a value of 64 bits."""
        self._values[register] = value
        self._changed.add(register)

    def write_binary(self, instruction: Binary) -> None:
        """Write arithmetic with two operands."""
        bits, operator = instruction.bits, instruction.operator
        right = self._operand(instruction.operand, bits)
        if operator is Operator.MOV:
            value = right
        else:
            value = self._calculate(operator, bits, self._read(instruction.destination, bits), right)
        self.set(instruction.destination, self._widen(value, bits))

    def write_negate(self, instruction: Negate) -> None:
        """Write a negation."""
        value = self._read(instruction.destination, instruction.bits)
        negated = self.emit(f"sub i{instruction.bits} 0, {value}")
        self.set(instruction.destination, self._widen(negated, instruction.bits))

    def write_sign_extend(self, instruction: SignExtend) -> None:
        """Write a move with sign."""
        low = self._read(instruction.source, instruction.from_bits)
        value = self.emit(f"sext i{instruction.from_bits} {low} to i{instruction.bits}")
        self.set(instruction.destination, self._widen(value, instruction.bits))

    def write_swap(self, instruction: SwapBytes) -> None:
        """Write a byte swap; both targets are little-endian."""
        bits = instruction.bits
        value = self._read(instruction.destination, bits)
        if instruction.order is not ByteOrder.LITTLE:
            value = self.emit(f"call i{bits} @llvm.bswap.i{bits}(i{bits} {value})")
        self.set(instruction.destination, self._widen(value, bits))

    def write_load(self, instruction: Load, access: Access) -> None:
        """Write a load."""
        bits = instruction.size * 8
        pointer, volatile = self._address(instruction, access), _volatile(access)
        value = self.emit(f"load{volatile} i{bits}, ptr {pointer}, align 1")
        if bits < 64:
            value = self.emit(f"{'sext' if instruction.signed else 'zext'} i{bits} {value} to i64")
        self.set(instruction.destination, value)

    def write_store(self, instruction: Store, access: Access) -> None:
        """Write a store."""
        bits = instruction.size * 8
        pointer, volatile = self._address(instruction, access), _volatile(access)
        value = self._operand(instruction.value, bits)
        self.add(f"store{volatile} i{bits} {value}, ptr {pointer}, align 1")

    def write_atomic(self, instruction: Atomic, access: Access) -> None:
        """Write an atomic operation; addresses that are not exact are rounded down to the size."""
        size, bits, volatile = instruction.size, instruction.size * 8, _volatile(access)
        if isinstance(access, CagedAccess):
            address = self._cage(self._plus(self.get(instruction.base), instruction.offset), -size)
            pointer = self.emit(f"getelementptr i8, ptr %window, i64 {address}")
        else:
            pointer = self._address(instruction, access)
        source = self._read(instruction.source, bits)
        if instruction.operator is AtomicOperator.CMPXCHG:
            expected = self._read(Register.R0, bits)
            pair = self.emit(
                f"cmpxchg{volatile} ptr {pointer}, i{bits} {expected}, i{bits} {source} "
                f"seq_cst seq_cst, align {size}"
            )
            old = self.emit(f"extractvalue {{ i{bits}, i1 }} {pair}, 0")
            self.set(Register.R0, self._widen(old, bits))
            return
        name = instruction.operator.value[0]
        old = self.emit(f"atomicrmw{volatile} {name} ptr {pointer}, i{bits} {source} seq_cst, align {size}")
        if instruction.fetch:
            self.set(instruction.source, self._widen(old, bits))

    def write_condition(self, instruction: Branch) -> str:
        """Write a comparison and return its bit."""
        bits = instruction.bits
        left, right = self._read(instruction.left, bits), self._operand(instruction.right, bits)
        if instruction.condition is Condition.SET:
            return self.emit(f"icmp ne i{bits} {self.emit(f'and i{bits} {left}, {right}')}, 0")
        return self.emit(f"icmp {_PREDICATES[instruction.condition]} i{bits} {left}, {right}")

    def _calculate(self, operator: Operator, bits: int, left: str, right: str) -> str:
        if operator in (Operator.DIV, Operator.MOD):
            return self._divide(operator, bits, left, right)
        if operator in (Operator.SDIV, Operator.SMOD):
            return self._divide_signed(operator, bits, left, right)
        if operator in (Operator.LSH, Operator.RSH, Operator.ARSH):
            right = self.emit(f"and i{bits} {right}, {bits - 1}")
        return self.emit(f"{_NAMES[operator]} i{bits} {left}, {right}")

    def _divide(self, operator: Operator, bits: int, left: str, right: str) -> str:
        zero = self.emit(f"icmp eq i{bits} {right}, 0")
        divisor = self.emit(f"select i1 {zero}, i{bits} 1, i{bits} {right}")
        name, instead = ("udiv", "0") if operator is Operator.DIV else ("urem", left)
        result = self.emit(f"{name} i{bits} {left}, {divisor}")
        return self.emit(f"select i1 {zero}, i{bits} {instead}, i{bits} {result}")

    def _divide_signed(self, operator: Operator, bits: int, left: str, right: str) -> str:
        zero = self.emit(f"icmp eq i{bits} {right}, 0")
        # The least number divided by -1 overflows: LLVM does not define it, RFC 9669 wraps.
        minus = self.emit(f"icmp eq i{bits} {right}, -1")
        either = self.emit(f"or i1 {zero}, {minus}")
        divisor = self.emit(f"select i1 {either}, i{bits} 1, i{bits} {right}")
        if operator is Operator.SMOD:
            result = self.emit(f"srem i{bits} {left}, {divisor}")
            return self.emit(f"select i1 {zero}, i{bits} {left}, i{bits} {result}")
        result = self.emit(f"sdiv i{bits} {left}, {divisor}")
        negated = self.emit(f"sub i{bits} 0, {left}")
        result = self.emit(f"select i1 {minus}, i{bits} {negated}, i{bits} {result}")
        return self.emit(f"select i1 {zero}, i{bits} 0, i{bits} {result}")

    def _address(self, instruction: Load | Store | Atomic, access: Access) -> str:
        """Return the native pointer of an access."""
        match access:
            case FrameAccess(distance):
                address = self._plus(self.frame_top, distance)
                return self.emit(f"getelementptr i8, ptr %window, i64 {address}")
            case WindowAccess(address):
                return self.emit(f"getelementptr i8, ptr %window, i64 {address}")
            case ConstantsAccess(low, 0):
                return self.emit(f"getelementptr i8, ptr %constants, i64 {low}")
            case ConstantsAccess(low, mask):
                offset = instruction.offset - abi.CONSTANTS - low
                index = self._mask(self._plus(self.get(instruction.base), offset), mask)
                return self.emit(f"getelementptr i8, ptr %constants, i64 {self._plus(index, low)}")
            case CagedAccess():
                address = self._cage(self.get(instruction.base), -1)
                pointer = self.emit(f"getelementptr i8, ptr %window, i64 {address}")
                if not instruction.offset:
                    return pointer
                return self.emit(f"getelementptr i8, ptr {pointer}, i64 {instruction.offset}")

    def _cage(self, value: str, rounding: int) -> str:
        if rounding != -1:
            return self._mask(value, MASK_32 & rounding)
        if value not in self._caged:
            self._caged[value] = self._mask(value, MASK_32)
        return self._caged[value]

    def _mask(self, value: str, mask: int) -> str:
        opaque = self.emit(f'call i64 asm "", "=r,0"(i64 {value})')
        return self.emit(f"and i64 {opaque}, {mask}")

    def _plus(self, value: str, number: int) -> str:
        if not number:
            return value
        if not value.startswith("%"):
            return str(sign(int(value) + number, 64))
        return self.emit(f"add i64 {value}, {number}")

    def _read(self, register: Register, bits: int) -> str:
        """Return the low bits of a register."""
        value = self.get(register)
        if bits == 64:
            return value
        if not value.startswith("%"):
            return str(sign(int(value), bits))
        return self.emit(f"trunc i64 {value} to i{bits}")

    def _operand(self, operand: Register | int, bits: int) -> str:
        return self._read(operand, bits) if isinstance(operand, Register) else str(sign(operand, bits))

    def _widen(self, value: str, bits: int) -> str:
        """Return 64 bits with the upper ones clear."""
        if bits == 64:
            return value
        if not value.startswith("%"):
            return str(int(value) & (1 << bits) - 1)
        return self.emit(f"zext i{bits} {value} to i64")


def _volatile(access: Access) -> str:
    """Accesses that may trap must happen, each of them, as the reference interpreter has it."""
    return " volatile" if isinstance(access, CagedAccess) else ""


_NAMES = {
    Operator.ADD: "add",
    Operator.SUB: "sub",
    Operator.MUL: "mul",
    Operator.OR: "or",
    Operator.AND: "and",
    Operator.XOR: "xor",
    Operator.LSH: "shl",
    Operator.RSH: "lshr",
    Operator.ARSH: "ashr",
}
_PREDICATES = {
    Condition.EQUAL: "eq",
    Condition.NOT_EQUAL: "ne",
    Condition.GREATER: "ugt",
    Condition.GREATER_EQUAL: "uge",
    Condition.LESS: "ult",
    Condition.LESS_EQUAL: "ule",
    Condition.SIGNED_GREATER: "sgt",
    Condition.SIGNED_GREATER_EQUAL: "sge",
    Condition.SIGNED_LESS: "slt",
    Condition.SIGNED_LESS_EQUAL: "sle",
}
