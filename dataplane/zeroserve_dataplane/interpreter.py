"""The reference interpreter: what a verified program means, in the plainest Python.

In: a verified program, memory, helpers, fuel. Out: an outcome. It is what native code and the engine's own
interpreter are compared with; nothing serves traffic by it. The rule: window, fuel and traps exactly as
`zeroserve_ir.program.abi` has them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from zeroserve_ir.program import abi
from zeroserve_ir.program.arithmetic import (
    MASK_32,
    MASK_64,
    calculate,
    change_atomically,
    holds,
    sign,
    swap_bytes,
)
from zeroserve_ir.program.isa import (
    Atomic,
    AtomicOperator,
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

from zeroserve_dataplane.verifier import Verified
from zeroserve_dataplane.verifier.accesses import MAPPED, ConstantsAccess


class Trap(Enum):
    """Why a program was stopped."""

    FUEL = "out of fuel"
    MEMORY = "unmapped memory"
    HELPER = "refused by a helper"


class TrapError(Exception):
    """A program must stop; helpers raise it with HELPER."""

    def __init__(self, trap: Trap, found: str) -> None:
        self.trap = trap
        self.found = found
        super().__init__(f"{trap.value}: {found}")


@dataclass(slots=True)
class Memory:
    """The window's mapped part, and the constants."""

    constants: bytes = b""
    window: bytearray = field(default_factory=lambda: bytearray(abi.HEAP + abi.HEAP_BYTES))

    def read(self, address: int, size: int) -> bytes:
        """Return bytes at a guest address; raises TrapError unless all are mapped."""
        self._check(address, size)
        return bytes(self.window[address : address + size])

    def write(self, address: int, content: bytes) -> None:
        """Change bytes at a guest address; raises TrapError unless all are mapped."""
        self._check(address, len(content))
        self.window[address : address + len(content)] = content

    def read_argument(self, pointer: int, length: int) -> bytes:
        """Return what a READ argument names; raises TrapError when it leaves its memory."""
        if pointer < abi.CONSTANTS:
            return self.read(pointer, length)
        offset = pointer - abi.CONSTANTS
        if offset + length > len(self.constants):
            raise TrapError(Trap.HELPER, f"{length} bytes at constants+{offset}")
        return self.constants[offset : offset + length]

    def _check(self, address: int, size: int) -> None:
        # Context and stack are neighbours: an access may lie across both.
        for start, end in _JOINED:
            if start <= address and address + size <= end:
                return
        raise TrapError(Trap.MEMORY, f"{size} bytes at {address:#x}")


class Helpers(Protocol):
    """The helpers of abi.HELPERS, by number."""

    def call(self, number: int, arguments: tuple[int, ...], memory: Memory) -> int:
        """Return r0, 64 bits; `arguments` are those that the table names. Raises TrapError to trap.

        Work that is known only once it is done is paid for by the interpreter's `charge`.
        """


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: r0 as an unsigned number, or a trap; and the fuel that is left.

    After a trap by memory, native code may have charged less: what is left is then unspecified.
    """

    result: int
    trap: Trap | None
    found: str
    fuel: int


@dataclass(slots=True)
class _Frame:
    return_slot: int
    kept: list[int]


_KEPT = slice(6, 11)


@dataclass(slots=True)
class Interpreter:
    """Runs one program in one memory."""

    program: Verified
    memory: Memory
    helpers: Helpers
    fuel: int = abi.FUEL_DEFAULT
    registers: list[int] = field(default_factory=lambda: [0] * len(Register))
    _frames: list[_Frame] = field(default_factory=list)
    _next: int = 0

    def run(self, entry: int = 0) -> Outcome:
        """Run from the start with r2 = entry; never raises for what a program does."""
        lengths = {part.start: part.end - part.start for part in self.program.subprograms}
        self.registers[:] = [0] * len(Register)
        self.registers[1], self.registers[2] = abi.CONTEXT, entry
        self.registers[10] = abi.STACK_TOP
        self._next = 0
        try:
            while True:
                slot = self._next
                instruction = self.program.slots[slot]
                assert not isinstance(instruction, SecondHalf), "the verifier refuses jumps into loads"
                self._next = slot + 1
                if isinstance(instruction, Exit) and not self._frames:
                    return Outcome(self.registers[0], None, "", self.fuel)
                self._step(slot, instruction, lengths)
        except TrapError as error:
            if error.trap is Trap.HELPER:
                self.fuel = abi.TRAP_FUEL
            return Outcome(MASK_64, error.trap, str(error), self.fuel)

    def _step(self, slot: int, instruction: Instruction, lengths: dict[int, int]) -> None:
        match instruction:
            case Load() | Store() | Atomic():
                self._access(slot, instruction)
            case LoadImmediate(destination, value):
                self._set(destination, value)
                self._next = slot + 2
            case LoadConstants(destination, offset):
                self._set(destination, abi.CONSTANTS + offset)
                self._next = slot + 2
            case Jump(distance, _):
                self._jump(slot, distance)
            case Branch(condition, bits, left, right, distance):
                if holds(condition, bits, self._get(left), self._operand(right)):
                    self._jump(slot, distance)
            case CallHelper(number):
                self._call_helper(number)
            case CallLocal(distance):
                callee = slot + 1 + distance
                self.charge(lengths[callee], f"calling slot {callee}")
                self._frames.append(_Frame(slot + 1, self.registers[_KEPT]))
                self.registers[10] -= abi.FRAME_BYTES
                self._next = callee
            case Exit():
                frame = self._frames.pop()
                self.registers[_KEPT] = frame.kept
                self._next = frame.return_slot
            case _:
                self._calculate(instruction)

    def _calculate(self, instruction: Binary | Negate | SignExtend | SwapBytes) -> None:
        match instruction:
            case Binary(operator, bits, destination, operand):
                value = calculate(operator, bits, self._get(destination), self._operand(operand))
                self._set(destination, value)
            case Negate(bits, destination):
                self._set(destination, -self._get(destination) & (1 << bits) - 1)
            case SignExtend(bits, destination, source, from_bits):
                self._set(destination, sign(self._get(source), from_bits) & (1 << bits) - 1)
            case SwapBytes(order, bits, destination):
                self._set(destination, swap_bytes(order, bits, self._get(destination)))

    def _access(self, slot: int, instruction: Load | Store | Atomic) -> None:
        base, size = self._get(instruction.base), instruction.size
        address = (base & MASK_32) + instruction.offset
        match instruction:
            case Load(signed=signed, destination=destination, offset=offset):
                if isinstance(self.program.accesses[slot], ConstantsAccess):
                    start = base + offset - abi.CONSTANTS
                    content = self.memory.constants[start : start + size]
                else:
                    content = self.memory.read(address, size)
                self._set(destination, int.from_bytes(content, "little", signed=signed) & MASK_64)
            case Store(value=value):
                stored = self._operand(value) & (1 << size * 8) - 1
                self.memory.write(address, stored.to_bytes(size, "little"))
            case Atomic(operator=operator, source=source, fetch=fetch):
                place = (address & MASK_32) // size * size
                old = int.from_bytes(self.memory.read(place, size), "little")
                new = change_atomically(operator, size * 8, old, self._get(source), self.registers[0])
                self.memory.write(place, new.to_bytes(size, "little"))
                if fetch:
                    self._set(Register.R0 if operator is AtomicOperator.CMPXCHG else source, old)

    def _call_helper(self, number: int) -> None:
        helper = abi.BY_NUMBER[number]
        arguments = tuple(self.registers[1 : 1 + len(helper.arguments)])
        self.charge(helper.measure_fuel(arguments), f"in {helper.name}")
        try:
            self.registers[0] = self.helpers.call(number, arguments, self.memory) & MASK_64
        except TrapError as error:
            # Helpers check what they are given and never fault.
            trap = error.trap if error.trap is Trap.FUEL else Trap.HELPER
            raise TrapError(trap, error.found) from error

    def _jump(self, slot: int, distance: int) -> None:
        target = slot + 1 + distance
        if target <= slot:
            self.charge(slot - target + 1, f"jumping from slot {slot}")
        self._next = target

    def charge(self, fuel: int, found: str) -> None:
        """Take fuel for work; raises TrapError where there is none left."""
        self.fuel -= fuel
        if self.fuel < 0:
            raise TrapError(Trap.FUEL, found)

    def _get(self, register: Register) -> int:
        return self.registers[register.number]

    def _set(self, register: Register, value: int) -> None:
        self.registers[register.number] = value

    def _operand(self, operand: Register | int) -> int:
        return self._get(operand) if isinstance(operand, Register) else operand & MASK_64


def _join(extents: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    joined: list[tuple[int, int]] = []
    for start, end in extents:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return tuple(joined)


_JOINED = _join(MAPPED)
