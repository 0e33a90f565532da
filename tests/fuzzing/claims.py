"""Whether what the verifier says of a program holds in a run of it: each register, each place, each access.

In: a verified program and what it runs on. Out: the first claim that did not hold, or nothing. The rule: the
states are those of the analysis' last visits, which the compiler relied on; the run is the reference's.
"""

from dataclasses import dataclass, field
from unittest.mock import patch

from unit.jit.engine_helpers import EngineHelpers
from zeroserve_dataplane.interpreter import Interpreter, Memory, Trap
from zeroserve_dataplane.verifier import Exposure, analysing
from zeroserve_dataplane.verifier.accesses import ConstantsAccess, FrameAccess, WindowAccess
from zeroserve_dataplane.verifier.stepping import Stepper
from zeroserve_dataplane.verifier.values import Region
from zeroserve_ir.program import abi
from zeroserve_ir.program.arithmetic import MASK_32, sign
from zeroserve_ir.program.isa import R10, Register


class BrokenClaimError(Exception):
    """What the verifier said is not so."""


def find_states(program):
    """Return what the verifier knows before each slot that can be reached."""
    states = {}

    class Recorder(Stepper):
        def step(self, slot, instruction, state, *, in_main):
            states[slot] = state.copy()
            super().step(slot, instruction, state, in_main=in_main)

    with patch.object(analysing, "Stepper", Recorder):
        analysing.analyse(program.slots, program.subprograms, program.constants_bytes)
    return states


@dataclass(slots=True)
class CheckingInterpreter(Interpreter):
    """The reference, which asks before each instruction whether all that is known holds."""

    states: dict = field(default_factory=dict)

    def fetch(self, slot):
        """Return an instruction; raises BrokenClaimError where something does not hold before it."""
        self.states = self.states or find_states(self.program)
        self.check(slot)
        return Interpreter.fetch(self, slot)

    def check(self, slot):
        """Raise BrokenClaimError where a register, a place of the frame or an access is not as was said."""
        if slot not in self.states:
            raise BrokenClaimError(f"slot {slot} is reached")
        state, top = self.states[slot], self.registers[R10.number]
        for register in Register:
            self._check_value(
                slot, f"r{register.number}", state.get(register), self.registers[register.number]
            )
        for distance, value in state.spills.items():
            held = int.from_bytes(self.memory.window[top + distance : top + distance + 8], "little")
            self._check_value(slot, f"r10{distance}", value, held)
        access = self.program.accesses.get(slot)
        if access is not None:
            self._check_access(slot, access, self.program.slots[slot], top)

    def _check_value(self, slot, name, value, held):
        base = {
            Region.NUMBER: 0,
            Region.STACK: self.registers[R10.number],
            Region.CONTEXT: abi.CONTEXT,
            Region.CONSTANTS: abi.CONSTANTS,
        }.get(value.region)
        if base is not None and not value.low <= sign(held - base, 64) <= value.high:
            raise BrokenClaimError(f"slot {slot}: {name} is {held:#x}, not {value}")

    def _check_access(self, slot, access, instruction, top):
        address = self.registers[instruction.base.number] + instruction.offset
        in_window = (self.registers[instruction.base.number] & MASK_32) + instruction.offset
        match access:
            case FrameAccess(distance):
                holds = in_window == top + distance and -abi.FRAME_BYTES <= distance <= -instruction.size
            case WindowAccess(place):
                holds = in_window == place
            case ConstantsAccess(low, mask):
                offset = address - abi.CONSTANTS
                fits = low >= 0 and low + mask + instruction.size <= len(self.memory.constants)
                holds = fits and low <= offset <= low + mask
            case _:
                holds = True
        if not holds:
            raise BrokenClaimError(f"slot {slot}: {access} is at {address:#x}, r10 {top:#x}")


def find_broken_claim(case):
    """Run a route program's case; the first claim that did not hold, or None."""
    memory = Memory(case.constants)
    memory.write(abi.CONTEXT, case.memory)
    try:
        outcome = EngineHelpers().run(
            case.program, memory, case.fuel, len(case.memory), kind=CheckingInterpreter
        )
    except BrokenClaimError as error:
        return str(error)
    exposure = case.program.exposure
    if exposure is not Exposure.CAGED and outcome.trap is Trap.MEMORY:
        return f"{exposure.name} has faulted: {outcome.found}"
    if exposure is Exposure.DETACHED and outcome.fuel != case.fuel:
        return f"{exposure.name} has spent {case.fuel - outcome.fuel}"
    return None
