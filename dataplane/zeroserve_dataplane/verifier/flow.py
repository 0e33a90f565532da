"""Second stage: where control goes. Subprograms, basic blocks, the graph of calls.

In: well-formed slots. Out: `Subprogram`s of `Block`s, callers before callees, and refusals of jumps, ends and
calls. The compiler and the interpreter use the same subprograms: their lengths are what local calls cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from zeroserve_ir.program import abi
from zeroserve_ir.program.isa import (
    Branch,
    CallLocal,
    Exit,
    Instruction,
    Jump,
    SecondHalf,
    Slot,
)

from zeroserve_dataplane.verifier.refusals import Refusal, Rule

Slots = tuple[Instruction | SecondHalf, ...]
Extents = tuple[tuple[int, int], ...]
"""(start, end) of every subprogram, in the order of the code."""
Callees = Mapping[int, tuple[tuple[int, int], ...]]
"""By start of the calling subprogram, its (slot of the call, start of the callee)."""
_JUMPS: Final = (Jump, Branch)
_AIMED: Final = (Jump, Branch, CallLocal)


@dataclass(frozen=True, slots=True)
class Block:
    """A run of slots entered at its start only; `end` is exclusive."""

    start: int
    end: int
    successors: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Subprogram:
    """The slots from one called place to the next; the main program starts at 0."""

    start: int
    end: int
    blocks: Mapping[int, Block]
    """By start, in order."""


def check_targets(slots: Slots) -> Iterator[Refusal]:
    """Refuse jumps and calls that lead to no instruction."""
    for index, slot in enumerate(slots):
        target = find_target(index, slot)
        if target is None:
            continue
        if not 0 <= target < len(slots):
            yield Refusal(Rule.JUMP_TARGET, index, f"slot {target} of {len(slots)}")
        elif isinstance(slots[target], SecondHalf):
            yield Refusal(Rule.JUMP_INTO_LOAD, index, f"slot {target}")


def find_extents(slots: Slots) -> Extents:
    """Return where the subprograms lie."""
    starts = sorted({0} | {index + 1 + slot.distance for index, slot in _local_calls(slots)})
    return tuple(zip(starts, [*starts[1:], len(slots)], strict=True))


def check_extents(slots: Slots, extents: Extents) -> Iterator[Refusal]:
    """Refuse subprograms that control leaves other than by exit."""
    for start, end in extents:
        for index in range(start, end):
            slot = slots[index]
            target = find_target(index, slot)
            if target is not None and not isinstance(slot, CallLocal) and not start <= target < end:
                yield Refusal(Rule.JUMP_ACROSS, index, f"slot {target} outside {start} to {end - 1}")
        if not isinstance(slots[end - 1], Exit | Jump):
            yield Refusal(Rule.FALL_OFF, end - 1, f"{type(slots[end - 1]).__name__} is last")


def check_calls(callees: Callees) -> Iterator[Refusal]:
    """Refuse recursion and calls nested deeper than there are stack frames."""
    depths: dict[int, int] = {}
    order = sort_callers_first(callees)
    for start in order or ():
        depth = depths.setdefault(start, 1)
        for index, callee in callees[start]:
            if depth + 1 > abi.CALL_DEPTH_MAX:
                yield Refusal(Rule.CALL_DEPTH, index, f"frame {depth + 1}")
            depths[callee] = max(depths.get(callee, 1), depth + 1)
    if order is None:
        index = _find_circle(callees)
        yield Refusal(Rule.RECURSION, index, f"slot {index} calls what called it")


def find_callees(slots: Slots, extents: Extents) -> Callees:
    """Return who calls whom."""
    return {
        start: tuple(
            (start + offset, start + offset + 1 + slot.distance)
            for offset, slot in _local_calls(slots[start:end])
        )
        for start, end in extents
    }


def sort_callers_first(callees: Callees) -> tuple[int, ...] | None:
    """Return subprogram starts, each after all of its callers; None when calls form a circle."""
    callers = dict.fromkeys(callees, 0)
    for calls in callees.values():
        for callee in {callee for _, callee in calls}:
            callers[callee] += 1
    ready = [start for start, count in callers.items() if count == 0]
    order: list[int] = []
    while ready:
        start = ready.pop(0)
        order.append(start)
        for callee in sorted({callee for _, callee in callees[start]}):
            callers[callee] -= 1
            if callers[callee] == 0:
                ready.append(callee)
    return tuple(order) if len(order) == len(callees) else None


def divide(slots: Slots, extents: Extents, callees: Callees) -> tuple[Subprogram, ...]:
    """Return the subprograms, callers first, of code that the checks above accept."""
    order = sort_callers_first(callees)
    assert order is not None, "recursion is refused before"
    ends = dict(extents)
    return tuple(Subprogram(start, ends[start], _find_blocks(slots, start, ends[start])) for start in order)


def find_target(index: int, slot: Slot) -> int | None:
    """Return the slot that a jump, branch or local call goes to."""
    if isinstance(slot, _AIMED):
        return index + 1 + slot.distance
    return None


def _local_calls(slots: Slots) -> Iterator[tuple[int, CallLocal]]:
    return ((index, slot) for index, slot in enumerate(slots) if isinstance(slot, CallLocal))


def _find_circle(callees: Callees) -> int:
    """Return the slot of a call that closes a circle, by a walk without recursion of our own."""
    for first in callees:
        path, seen = [(first, -1)], set[int]()
        while path:
            start, _ = path.pop()
            for index, callee in callees[start]:
                if callee == first:
                    return index
                if callee not in seen:
                    seen.add(callee)
                    path.append((callee, index))
    raise AssertionError("no circle")


def _find_blocks(slots: Slots, start: int, end: int) -> dict[int, Block]:
    leaders = {start}
    for index in range(start, end):
        slot = slots[index]
        if isinstance(slot, _JUMPS):
            leaders |= {index + 1 + slot.distance, index + 1}
        elif isinstance(slot, Exit):
            leaders.add(index + 1)
    ordered = sorted(leader for leader in leaders if leader < end)
    return {
        leader: Block(leader, following, _find_successors(slots, following - 1))
        for leader, following in zip(ordered, [*ordered[1:], end], strict=True)
    }


def _find_successors(slots: Slots, last: int) -> tuple[int, ...]:
    match slots[last]:
        case Exit():
            return ()
        case Jump(distance, _):
            return (last + 1 + distance,)
        case Branch(distance=distance):
            return (last + 1 + distance, last + 1)
        case _:
            return (last + 1,)
