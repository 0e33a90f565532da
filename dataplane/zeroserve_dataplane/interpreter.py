"""The reference interpreter: what a verified program means, in the plainest Python.

In: a verified program, memory, helpers, fuel. Out: an outcome. It is what native code and the engine's own
interpreter are compared with; nothing serves traffic by it. The rule: window, fuel and traps exactly as
`zeroserve_ir.program.abi` has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

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
    _lengths: dict[int, int] = field(default_factory=dict)
    """Slots of the subprograms, by start."""
    _next: int = 0

    def run(self, entry: int = 0) -> Outcome:
        """Run from the start with r2 = entry; never raises for what a program does."""
        self._lengths = {part.start: part.end - part.start for part in self.program.subprograms}
        self.registers[:] = [0] * len(Register)
        self.registers[1], self.registers[2] = abi.CONTEXT, entry
        self.registers[10] = abi.STACK_TOP
        self._next = 0
        try:
            while True:
                slot = self._next
                instruction = self.fetch(slot)
                self._next = slot + 1
                if isinstance(instruction, Exit) and not self._frames:
                    return Outcome(self.registers[0], None, "", self.fuel)
                _STEPS[type(instruction)](self, slot, instruction)
        except TrapError as error:
            if error.trap is Trap.HELPER:
                self.fuel = abi.TRAP_FUEL
            return Outcome(MASK_64, error.trap, str(error), self.fuel)

    def fetch(self, slot: int) -> Instruction | SecondHalf:
        """Return the instruction that runs next: for those who look at each step."""
        return self.program.slots[slot]

    def _step_binary(self, _slot: int, instruction: Binary) -> None:
        destination, operand = instruction.destination.number, self._operand(instruction.operand)
        value = calculate(instruction.operator, instruction.bits, self.registers[destination], operand)
        self.registers[destination] = value

    def _step_negate(self, _slot: int, instruction: Negate) -> None:
        value = -self._get(instruction.destination) & (1 << instruction.bits) - 1
        self._set(instruction.destination, value)

    def _step_sign_extend(self, _slot: int, instruction: SignExtend) -> None:
        value = sign(self._get(instruction.source), instruction.from_bits) & (1 << instruction.bits) - 1
        self._set(instruction.destination, value)

    def _step_swap_bytes(self, _slot: int, instruction: SwapBytes) -> None:
        value = swap_bytes(instruction.order, instruction.bits, self._get(instruction.destination))
        self._set(instruction.destination, value)

    def _step_load_immediate(self, slot: int, instruction: LoadImmediate) -> None:
        self._set(instruction.destination, instruction.value)
        self._next = slot + 2

    def _step_load_constants(self, slot: int, instruction: LoadConstants) -> None:
        self._set(instruction.destination, abi.CONSTANTS + instruction.offset)
        self._next = slot + 2

    def _step_load(self, slot: int, load: Load) -> None:
        base, size = self._get(load.base), load.size
        if isinstance(self.program.accesses[slot], ConstantsAccess):
            start = base + load.offset - abi.CONSTANTS
            content = self.memory.constants[start : start + size]
        else:
            content = self.memory.read((base & MASK_32) + load.offset, size)
        self._set(load.destination, int.from_bytes(content, "little", signed=load.signed) & MASK_64)

    def _step_store(self, _slot: int, store: Store) -> None:
        stored = self._operand(store.value) & (1 << store.size * 8) - 1
        address = (self._get(store.base) & MASK_32) + store.offset
        self.memory.write(address, stored.to_bytes(store.size, "little"))

    def _step_atomic(self, _slot: int, atomic: Atomic) -> None:
        size, operator = atomic.size, atomic.operator
        address = (self._get(atomic.base) & MASK_32) + atomic.offset
        place = (address & MASK_32) // size * size
        old = int.from_bytes(self.memory.read(place, size), "little")
        new = change_atomically(operator, size * 8, old, self._get(atomic.source), self.registers[0])
        self.memory.write(place, new.to_bytes(size, "little"))
        if atomic.fetch:
            self._set(Register.R0 if operator is AtomicOperator.CMPXCHG else atomic.source, old)

    def _step_jump(self, slot: int, jump: Jump) -> None:
        self._jump(slot, jump.distance)

    def _step_branch(self, slot: int, branch: Branch) -> None:
        if holds(branch.condition, branch.bits, self._get(branch.left), self._operand(branch.right)):
            self._jump(slot, branch.distance)

    def _step_call_helper(self, _slot: int, call: CallHelper) -> None:
        self._call_helper(call.number)

    def _step_call_local(self, slot: int, call: CallLocal) -> None:
        callee = slot + 1 + call.distance
        self.charge(self._lengths[callee], f"calling slot {callee}")
        self._frames.append(_Frame(slot + 1, self.registers[_KEPT]))
        self.registers[10] -= abi.FRAME_BYTES
        self._next = callee

    def _step_exit(self, _slot: int, _instruction: Exit) -> None:
        frame = self._frames.pop()
        self.registers[_KEPT] = frame.kept
        self._next = frame.return_slot

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

_STEPS: Mapping[type, Callable[[Interpreter, int, Any], None]] = {
    Binary: Interpreter._step_binary,
    Negate: Interpreter._step_negate,
    SignExtend: Interpreter._step_sign_extend,
    SwapBytes: Interpreter._step_swap_bytes,
    LoadImmediate: Interpreter._step_load_immediate,
    LoadConstants: Interpreter._step_load_constants,
    Load: Interpreter._step_load,
    Store: Interpreter._step_store,
    Atomic: Interpreter._step_atomic,
    Jump: Interpreter._step_jump,
    Branch: Interpreter._step_branch,
    CallHelper: Interpreter._step_call_helper,
    CallLocal: Interpreter._step_call_local,
    Exit: Interpreter._step_exit,
}
"""By kind of instruction; no second half of a load is among them, since the verifier refuses jumps there."""
