"""One instruction: from what is known before it to what is known after it.

In: an instruction, the state before (changed in place). Out: refusals, and the access where it touches
memory. Called by `analysing` for each instruction of a block.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from zeroserve_ir.program import abi
from zeroserve_ir.program.isa import (
    R0,
    Atomic,
    AtomicOperator,
    Binary,
    Branch,
    CallHelper,
    CallLocal,
    Exit,
    Instruction,
    Load,
    LoadConstants,
    LoadImmediate,
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
    FrameAccess,
    MemoryInstruction,
    access_hits_stack,
    check_access,
)
from zeroserve_dataplane.verifier.arguments import check_arguments
from zeroserve_dataplane.verifier.refusals import Refusal, Rule
from zeroserve_dataplane.verifier.states import State
from zeroserve_dataplane.verifier.values import (
    UNKNOWN,
    Region,
    Value,
    apply,
    between,
    exactly,
    forget,
    load_range,
    negate,
)

_WRITES: Final = frozenset({abi.Argument.WRITE, abi.Argument.DIGEST})
"""Arguments that a helper writes to: what is known of the frame may not hold afterwards."""


@dataclass(slots=True)
class Stepper:
    """Applies instructions of one program; collects refusals and accesses by slot."""

    constants_bytes: int
    refusals: dict[tuple[Rule, int], Refusal] = field(default_factory=dict)
    accesses: dict[int, Access] = field(default_factory=dict)

    def step(self, slot: int, instruction: Instruction, state: State, *, in_main: bool) -> None:
        """Change the state to what holds after the instruction."""
        for register in read_registers(instruction):
            if state.get(register).region is Region.UNINITIALISED:
                self._refuse(Refusal(Rule.UNINITIALISED_REGISTER, slot, f"r{register.value}"))
                state.set(register, UNKNOWN)
        match instruction:
            case Binary() | LoadImmediate():
                _step_arithmetic(instruction, state)
            case Load() | Store() | Atomic():
                self._step_memory(slot, instruction, state)
            case CallHelper(number):
                helper = abi.BY_NUMBER[number]
                for refusal in check_arguments(slot, helper, state, self.constants_bytes):
                    self._refuse(refusal)
                if not _WRITES.isdisjoint(helper.arguments):
                    state.forget_spills()
                _return_from_call(state)
            case CallLocal():
                state.forget_spills()
                _return_from_call(state)
            case Exit():
                if state.get(R0).is_constants and not in_main:
                    self._refuse(Refusal(Rule.RESULT_POINTER, slot, str(state.get(R0))))
            case _:
                _step_arithmetic(instruction, state)

    def _step_memory(self, slot: int, instruction: MemoryInstruction, state: State) -> None:
        base = state.get(instruction.base)
        access = check_access(slot, instruction, base, self.constants_bytes)
        if isinstance(access, Refusal):
            self._refuse(access)
            access = CagedAccess()
        else:
            self.accesses[slot] = access
        match instruction:
            case Load():
                state.set(instruction.destination, _load(instruction, access, state))
            case Store():
                stored = _value_of(instruction.value, state)
                _store(access, instruction.size, stored if instruction.size == 8 else UNKNOWN, state)
            case Atomic():
                _store(access, instruction.size, UNKNOWN, state)
                if instruction.fetch:
                    cmpxchg = instruction.operator is AtomicOperator.CMPXCHG
                    old = UNKNOWN if instruction.size == 8 else load_range(4, signed=False)
                    state.set(R0 if cmpxchg else instruction.source, old)

    def _refuse(self, refusal: Refusal) -> None:
        self.refusals.setdefault((refusal.rule, refusal.slot), refusal)


def read_registers(instruction: Instruction) -> tuple[Register, ...]:
    """Return the registers that an instruction reads, calls aside."""
    match instruction:
        case Binary(operator, _, destination, operand):
            kept = () if operator is Operator.MOV else (destination,)
            return (*kept, operand) if isinstance(operand, Register) else kept
        case Load(base=base):
            return (base,)
        case Store(base=base, value=value):
            return (base, value) if isinstance(value, Register) else (base,)
        case Branch(left=left, right=right):
            return (left, right) if isinstance(right, Register) else (left,)
        case Negate(destination=register) | SwapBytes(destination=register) | SignExtend(source=register):
            return (register,)
        case Atomic(operator=operator, base=base, source=source):
            return (base, source, R0) if operator is AtomicOperator.CMPXCHG else (base, source)
        case Exit():
            return (R0,)
        case _:
            return ()


def _return_from_call(state: State) -> None:
    state.clobber_arguments()
    state.set(R0, UNKNOWN)


def _step_arithmetic(instruction: Instruction, state: State) -> None:
    match instruction:
        case Binary(operator, bits, destination, operand):
            left = state.get(destination) if operator is not Operator.MOV else exactly(0)
            state.set(destination, apply(operator, bits, left, _value_of(operand, state)))
        case Negate(bits, destination):
            state.set(destination, negate(bits, state.get(destination)))
        case SignExtend(bits, destination, source, from_bits):
            value = state.get(source)
            extended = load_range(from_bits // 8, signed=True)
            extended = extended if bits == 64 else load_range(4, signed=False)
            state.set(destination, forget(value) if value.is_constants else extended)
        case SwapBytes(_, bits, destination):
            value = state.get(destination)
            swapped = UNKNOWN if bits == 64 else between(0, (1 << bits) - 1)
            state.set(destination, forget(value) if value.is_constants else swapped)
        case LoadImmediate(destination, number):
            state.set(destination, exactly(number))
        case LoadConstants(destination, offset):
            state.set(destination, Value(Region.CONSTANTS, offset, offset))
        case _:
            return


def _load(load: Load, access: Access, state: State) -> Value:
    unknown = UNKNOWN if load.size == 8 else load_range(load.size, signed=load.signed)
    if isinstance(access, FrameAccess):
        return state.fill(access.distance, load.size) or unknown
    return unknown


def _store(access: Access, size: int, value: Value, state: State) -> None:
    if isinstance(access, FrameAccess):
        state.spill(access.distance, size, value)
    elif isinstance(access, CagedAccess) or access_hits_stack(access):
        state.forget_spills()


def _value_of(operand: Register | int, state: State) -> Value:
    return state.get(operand) if isinstance(operand, Register) else exactly(operand)
