"""Third stage: abstract interpretation, callers first, each subprogram to its fixed point.

In: subprograms. Out: refusals and, by slot, the memory accesses that the compiler relies on. Refusals are
collected after the fixed point, in one more pass, so that each is about what holds in every run.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from zeroserve_ir.program.isa import CallLocal, SecondHalf

from zeroserve_dataplane.verifier.accesses import Access
from zeroserve_dataplane.verifier.flow import Block, Slots, Subprogram
from zeroserve_dataplane.verifier.refusals import Refusal
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


@dataclass(frozen=True, slots=True)
class Analysis:
    """What holds in every run: accesses by slot, starts of the blocks that can be reached."""

    accesses: Mapping[int, Access]
    reachable: frozenset[int]
    refusals: tuple[Refusal, ...]


def analyse(slots: Slots, subprograms: tuple[Subprogram, ...], constants_bytes: int) -> Analysis:
    """Interpret a program whose structure and flow are sound."""
    entries: dict[int, State] = {0: main_state()}
    stepper = Stepper(constants_bytes)
    reachable: set[int] = set()
    for subprogram in subprograms:
        if subprogram.start not in entries:
            continue
        states = _find_fixed_point(slots, subprogram, entries[subprogram.start], constants_bytes)
        reachable |= states.keys()
        for start, state in states.items():
            calls = _record(slots, subprogram, subprogram.blocks[start], state, stepper)
            for callee, entry in calls:
                entries[callee] = join_states(entries[callee], entry) if callee in entries else entry
    refusals = sorted(stepper.refusals.values(), key=lambda refusal: (refusal.slot, refusal.rule.name))
    return Analysis(stepper.accesses, frozenset(reachable), tuple(refusals))


def _find_fixed_point(
    slots: Slots, subprogram: Subprogram, entry: State, constants_bytes: int
) -> dict[int, State]:
    """Return the state at the start of each block that can be reached."""
    stepper = Stepper(constants_bytes)
    states = {subprogram.start: entry}
    joins: dict[int, int] = {}
    waiting = [subprogram.start]
    while waiting:
        block = subprogram.blocks[heapq.heappop(waiting)]
        after = states[block.start].copy()
        for slot in range(block.start, block.end):
            instruction = slots[slot]
            if not isinstance(instruction, SecondHalf):
                stepper.step(slot, instruction, after, in_main=subprogram.start == 0)
        for successor in block.successors:
            before = states.get(successor)
            merged = after.copy() if before is None else join_states(before, after)
            if before is not None and merged == before:
                continue
            if before is not None:
                joins[successor] = joins.get(successor, 0) + 1
                if joins[successor] > JOINS_MAX:
                    merged = widen_states(before, merged)
            states[successor] = merged
            if successor not in waiting:
                heapq.heappush(waiting, successor)
    return states


def _record(
    slots: Slots, subprogram: Subprogram, block: Block, before: State, stepper: Stepper
) -> list[tuple[int, State]]:
    """Step through a block for good; returns the entry states of the subprograms that it calls."""
    state = before.copy()
    calls: list[tuple[int, State]] = []
    for slot in range(block.start, block.end):
        instruction = slots[slot]
        if isinstance(instruction, SecondHalf):
            continue
        if isinstance(instruction, CallLocal):
            calls.append((slot + 1 + instruction.distance, callee_state(state)))
        stepper.step(slot, instruction, state, in_main=subprogram.start == 0)
    return calls
