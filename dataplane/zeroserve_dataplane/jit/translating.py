"""A verified program as LLVM IR text: one function for each subprogram, fuel on back edges and calls.

In: a verified program. Out: a module whose only external function is `run`, with the entry of
`zeroserve_ir.program.abi`. Text is parsed four times faster than llvmlite's builder objects are made.
The rule: what the reference interpreter charges and traps, this charges and traps at the same places.
"""

from __future__ import annotations

from dataclasses import dataclass

from zeroserve_ir.program import abi
from zeroserve_ir.program.isa import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R10,
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
    Negate,
    Register,
    SecondHalf,
    SignExtend,
    Store,
    SwapBytes,
)

from zeroserve_dataplane.jit.writing import Writer
from zeroserve_dataplane.verifier import Verified
from zeroserve_dataplane.verifier.flow import Block, Subprogram

ENTRY_NAME = "run"
_ARGUMENTS = (R1, R2, R3, R4, R5)
_VM = "ptr %window, ptr noalias %vm, ptr noalias readonly %constants"
_TRAP = "-1"
_TAIL = """
declare i16 @llvm.bswap.i16(i16)
declare i32 @llvm.bswap.i32(i32)
declare i64 @llvm.bswap.i64(i64)
!0 = !{}
attributes #0 = { nounwind noimplicitfloat null_pointer_is_valid "no-jump-tables"="true" "no-builtins" \
"probe-stack"="inline-asm" "frame-pointer"="none" }
"""


def translate(program: Verified) -> str:
    """Return the program as the text of an LLVM module."""
    lengths = {part.start: part.end - part.start for part in program.subprograms}
    functions = [
        _Function(program, subprogram, lengths).write()
        for subprogram in program.subprograms
        if subprogram.start in program.reachable
    ]
    return "\n".join(functions) + _TAIL


@dataclass(slots=True)
class _Function:
    program: Verified
    subprogram: Subprogram
    lengths: dict[int, int]
    writer: Writer
    can_trap: bool

    def __init__(self, program: Verified, subprogram: Subprogram, lengths: dict[int, int]) -> None:
        self.program = program
        self.subprogram = subprogram
        self.lengths = lengths
        self.writer = Writer(str(abi.STACK_TOP) if subprogram.start == 0 else "%a10")
        self.can_trap = False

    def write(self) -> str:
        """Return the function's definition."""
        for block in self.subprogram.blocks.values():
            if block.start in self.program.reachable:
                self._write_block(block)
        lines = [*self._head(), *self.writer.lines]
        if self.can_trap:
            lines += ["trap:", f"  ret i64 {_TRAP}"]
        return "\n".join([*lines, "}"])

    def _head(self) -> list[str]:
        start = self.subprogram.start
        initial = dict.fromkeys(Register, "0")
        if start == 0:
            definition = f"define i64 @{ENTRY_NAME}({_VM}, i64 %entry) #0 {{"
            initial |= {R1: str(abi.CONTEXT), R2: "%entry"}
        else:
            parameters = ", ".join(f"i64 %a{register.number}" for register in (*_ARGUMENTS, R10))
            definition = f"define internal fastcc i64 @subprogram{start}({_VM}, {parameters}) #0 {{"
            initial |= {register: f"%a{register.number}" for register in _ARGUMENTS}
        cells = [register for register in Register if register is not R10]
        return [
            definition,
            "begin:",
            *(f"  %r{register.number} = alloca i64" for register in cells),
            *(f"  store i64 {initial[register]}, ptr %r{register.number}" for register in cells),
            f"  br label %L{start}",
        ]

    def _write_block(self, block: Block) -> None:
        self.writer.begin_block(f"L{block.start}")
        for slot in range(block.start, block.end):
            instruction = self.program.slots[slot]
            if not isinstance(instruction, SecondHalf):
                self._write_instruction(slot, instruction)
        if not isinstance(self.program.slots[block.end - 1], Exit | Jump | Branch):
            self.writer.flush()
            self.writer.add(f"br label %L{block.end}")

    def _write_instruction(self, slot: int, instruction: Instruction) -> None:
        writer = self.writer
        match instruction:
            case Binary():
                writer.write_binary(instruction)
            case Negate():
                writer.write_negate(instruction)
            case SignExtend():
                writer.write_sign_extend(instruction)
            case SwapBytes():
                writer.write_swap(instruction)
            case LoadImmediate(destination, value):
                writer.set(destination, str(value - (1 << 64) if value >> 63 else value))
            case LoadConstants(destination, offset):
                writer.set(destination, str(abi.CONSTANTS + offset))
            case Load():
                writer.write_load(instruction, self.program.accesses[slot])
            case Store():
                writer.write_store(instruction, self.program.accesses[slot])
            case Atomic():
                writer.write_atomic(instruction, self.program.accesses[slot])
            case CallHelper(number):
                self._write_helper_call(slot, abi.BY_NUMBER[number])
            case CallLocal(distance):
                self._write_local_call(slot, slot + 1 + distance)
            case Jump(distance, _):
                writer.flush()
                self._write_jump(slot, slot + 1 + distance)
            case Branch():
                self._write_branch(slot, instruction)
            case Exit():
                writer.add(f"ret i64 {writer.get(R0)}")

    def _write_branch(self, slot: int, branch: Branch) -> None:
        condition = self.writer.write_condition(branch)
        self.writer.flush()
        target = slot + 1 + branch.distance
        if target > slot:
            self.writer.add(f"br i1 {condition}, label %L{target}, label %L{slot + 1}")
            return
        self.writer.add(f"br i1 {condition}, label %B{slot}, label %L{slot + 1}")
        self.writer.lines.append(f"B{slot}:")
        self._write_jump(slot, target)

    def _write_jump(self, slot: int, target: int) -> None:
        if target > slot:
            self.writer.add(f"br label %L{target}")
        else:
            self._leave_when(self._charge(slot - target + 1), f"L{target}")

    def _write_helper_call(self, slot: int, helper: abi.Helper) -> None:
        writer = self.writer
        offset = abi.VM_HELPERS_OFFSET + 8 * helper.number
        place = writer.emit(f"getelementptr i8, ptr %vm, i64 {offset}")
        function = writer.emit(f"load ptr, ptr {place}, align 8, !invariant.load !0")
        named = len(helper.arguments)
        values = [
            writer.get(register) if position < named else "0" for position, register in enumerate(_ARGUMENTS)
        ]
        arguments = ", ".join(f"i64 {value}" for value in values)
        writer.set(R0, writer.emit(f"call i64 {function}(ptr %vm, {arguments})"))
        self._leave_after_call(slot)

    def _write_local_call(self, slot: int, callee: int) -> None:
        writer = self.writer
        charged = f"D{slot}"
        self._leave_when(self._charge(self.lengths[callee]), charged)
        writer.lines.append(f"{charged}:")
        values = [writer.get(register) for register in _ARGUMENTS]
        top = writer.emit(f"sub i64 {writer.get(R10)}, {abi.FRAME_BYTES}")
        arguments = ", ".join(f"i64 {value}" for value in (*values, top))
        call = f"call fastcc i64 @subprogram{callee}(ptr %window, ptr %vm, ptr %constants, {arguments})"
        writer.set(R0, writer.emit(call))
        self._leave_after_call(slot)

    def _charge(self, slots: int) -> str:
        """Subtract fuel and return whether the rest is negative."""
        fuel = self.writer.emit("load i64, ptr %vm, align 8")
        rest = self.writer.emit(f"sub i64 {fuel}, {slots}")
        self.writer.add(f"store i64 {rest}, ptr %vm, align 8")
        return self.writer.emit(f"icmp slt i64 {rest}, 0")

    def _leave_after_call(self, slot: int) -> None:
        fuel = self.writer.emit("load i64, ptr %vm, align 8")
        self._leave_when(self.writer.emit(f"icmp slt i64 {fuel}, 0"), f"C{slot}")
        self.writer.lines.append(f"C{slot}:")

    def _leave_when(self, condition: str, label: str) -> None:
        self.can_trap = True
        self.writer.add(f"br i1 {condition}, label %trap, label %{label}")
