"""Third stage: abstract interpretation, callers first, each subprogram to its fixed point.

In: subprograms. Out: refusals and, by slot, the memory accesses that the compiler relies on. Of each block
only the last visit counts: it saw the fixed point, so that what it found is about what holds in every run.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from zeroserve_ir.program import abi
from zeroserve_ir.program.isa import CallLocal, SecondHalf

from zeroserve_dataplane.verifier.accesses import Access
from zeroserve_dataplane.verifier.flow import Block, Slots, Subprogram
from zeroserve_dataplane.verifier.refusals import Refusal, Rule
from zeroserve_dataplane.verifier.states import (
    State,
    callee_state,
    join_states,
    main_state,
    widen_states,
)
from zeroserve_dataplane.verifier.stepping import Stepper

JOINS_MAX = 4
"""Joins at one block before it is widened: enough for the arms of a switch, few enough for quick loops."""
STEPS_MAX: Final = 32 * abi.INSTRUCTIONS_MAX
"""Slots stepped through, in all visits: some two seconds. Plugins that people wrote take two or three for
each slot; without a bound, values handed from place to place around a loop take a minute."""
_VISIT_STEPS: Final = 3
"""What a visit costs besides its slots: states are copied and joined."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """What holds in every run: accesses by slot, starts of the blocks that can be reached."""

    accesses: Mapping[int, Access]
    reachable: frozenset[int]
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class _Visit:
    """What stepping through a block found: the entry states of the subprograms that it calls, the rest."""

    stepper: Stepper
    calls: list[tuple[int, State]] = field(default_factory=list)


class _TooManyStepsError(Exception):
    """STEPS_MAX is used up; carries the slot that was reached."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        super().__init__(f"slot {slot}")


@dataclass(slots=True)
class _Effort:
    steps: int = 0

    def spend(self, block: Block) -> None:
        """Count a visit; raises _TooManyStepsError."""
        self.steps += block.end - block.start + _VISIT_STEPS
        if self.steps > STEPS_MAX:
            raise _TooManyStepsError(block.start)


def analyse(slots: Slots, subprograms: tuple[Subprogram, ...], constants_bytes: int) -> Analysis:
    """Interpret a program whose structure and flow are sound."""
    try:
        return _analyse(slots, subprograms, constants_bytes)
    except _TooManyStepsError as error:
        refusal = Refusal(Rule.COMPLEXITY, error.slot, f"more than {STEPS_MAX} steps")
        return Analysis({}, frozenset(), (refusal,))


def _analyse(slots: Slots, subprograms: tuple[Subprogram, ...], constants_bytes: int) -> Analysis:
    effort = _Effort()
    entries: dict[int, State] = {0: main_state()}
    visits: dict[int, _Visit] = {}
    for subprogram in subprograms:
        if subprogram.start not in entries:
            continue
        found = _find_fixed_point(slots, subprogram, entries[subprogram.start], constants_bytes, effort)
        visits |= found
        for visit in found.values():
            for callee, entry in visit.calls:
                entries[callee] = join_states(entries[callee], entry) if callee in entries else entry
    accesses: dict[int, Access] = {}
    refusals: list[Refusal] = []
    for visit in visits.values():
        accesses |= visit.stepper.accesses
        refusals += visit.stepper.refusals.values()
    refusals.sort(key=lambda refusal: (refusal.slot, refusal.rule.name))
    return Analysis(accesses, frozenset(visits), tuple(refusals))


def _find_fixed_point(
    slots: Slots, subprogram: Subprogram, entry: State, constants_bytes: int, effort: _Effort
) -> dict[int, _Visit]:
    """Return the last visit of each block that can be reached, by its start."""
    visits: dict[int, _Visit] = {}
    states = {subprogram.start: entry}
    joins: dict[int, int] = {}
    waiting = [subprogram.start]
    while waiting:
        block = subprogram.blocks[heapq.heappop(waiting)]
        effort.spend(block)
        after = states[block.start].copy()
        visit = visits[block.start] = _Visit(Stepper(constants_bytes))
        _visit_block(slots, block, after, visit, in_main=subprogram.start == 0)
        for successor in block.successors:
            before = states.get(successor)
            if before == after:
                continue
            merged = after.copy() if before is None else join_states(before, after)
            if merged == before:
                continue
            if before is not None:
                joins[successor] = joins.get(successor, 0) + 1
                if joins[successor] > JOINS_MAX:
                    merged = widen_states(before, merged)
            states[successor] = merged
            if successor not in waiting:
                heapq.heappush(waiting, successor)
    return visits


def _visit_block(slots: Slots, block: Block, state: State, visit: _Visit, *, in_main: bool) -> None:
    """Step through a block; `state` becomes what holds at its end."""
    for slot in range(block.start, block.end):
        instruction = slots[slot]
        if isinstance(instruction, SecondHalf):
            continue
        if isinstance(instruction, CallLocal):
            visit.calls.append((slot + 1 + instruction.distance, callee_state(state)))
        visit.stepper.step(slot, instruction, state, in_main=in_main)
