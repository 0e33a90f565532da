"""What is known at one point of a program: registers, and values spilled to the stack frame.

Made and changed by `analysing` and `stepping`. The rule: a slot is known only while nothing could have
written to it; what is not known of memory is any number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from zeroserve_ir.program.isa import R1, R2, R3, R4, R5, R10, Register

from zeroserve_dataplane.verifier.values import MIXED, UNINITIALISED, UNKNOWN, Region, Value, join, widen

ARGUMENTS = (R1, R2, R3, R4, R5)
FRAME_TOP = Value(Region.STACK)


@dataclass(slots=True)
class State:
    """Registers by number; spilled 8-byte values by distance from r10, a multiple of 8."""

    registers: list[Value]
    spills: dict[int, Value] = field(default_factory=dict)

    def copy(self) -> State:
        """Return a state that changes on its own."""
        return State(list(self.registers), dict(self.spills))

    def get(self, register: Register) -> Value:
        """Return what a register holds."""
        return self.registers[register.number]

    def set(self, register: Register, value: Value) -> None:
        """Say what a register holds now."""
        self.registers[register.number] = value

    def clobber_arguments(self) -> None:
        """Forget r1 to r5, which a call does not keep."""
        for register in ARGUMENTS:
            self.set(register, UNINITIALISED)

    def spill(self, distance: int, size: int, value: Value) -> None:
        """Note a store to an exact place of the frame."""
        for place in range(distance - distance % 8, distance + size, 8):
            self._forget_spill(place)
        if size == 8 and distance % 8 == 0:
            self.spills[distance] = value

    def fill(self, distance: int, size: int) -> Value | None:
        """Return what an exact place of the frame holds, where that is known."""
        if size == 8 and distance % 8 == 0:
            return self.spills.get(distance)
        overlapped = (self.spills.get(place) for place in range(distance - distance % 8, distance + size, 8))
        return MIXED if any(value is not None and value.is_constants for value in overlapped) else None

    def forget_spills(self) -> None:
        """Note that anything in the frame may have been written."""
        for place in tuple(self.spills):
            self._forget_spill(place)

    def _forget_spill(self, place: int) -> None:
        value = self.spills.pop(place, None)
        if value is not None and value.is_constants:
            # It may still be there: loading it must not make a caged pointer of a pointer to constants.
            self.spills[place] = MIXED


def main_state() -> State:
    """Return the state at the program's entry: r1 context, r2 entry number."""
    state = _frame_state()
    state.set(R1, Value(Region.CONTEXT))
    state.set(R2, UNKNOWN)
    return state


def callee_state(caller: State) -> State:
    """Return the state at a subprogram's entry; the caller's stack lies outside its frame and is caged."""
    state = _frame_state()
    for register in ARGUMENTS:
        value = caller.get(register)
        state.set(register, UNKNOWN if value.region is Region.STACK else value)
    return state


def join_states(left: State, right: State) -> State:
    """Return what holds on both ways."""
    return _combine(join, left, right)


def widen_states(old: State, new: State) -> State:
    """Return a state above both at which loops come to rest."""
    return _combine(widen, old, new)


def _combine(combine: Callable[[Value, Value], Value], left: State, right: State) -> State:
    pairs = zip(left.registers, right.registers, strict=True)
    registers = [mine if mine is yours else combine(mine, yours) for mine, yours in pairs]
    spills: dict[int, Value] = {}
    for place, mine in left.spills.items():
        yours = right.spills.get(place)
        if mine is yours:
            spills[place] = mine
        elif yours is not None:
            spills[place] = combine(mine, yours)
        elif mine.is_constants:
            spills[place] = MIXED
    for place in right.spills.keys() - left.spills.keys():
        if right.spills[place].is_constants:
            spills[place] = MIXED
    return State(registers, spills)


def _frame_state() -> State:
    state = State([UNINITIALISED] * len(Register))
    state.set(R10, FRAME_TOP)
    return state
