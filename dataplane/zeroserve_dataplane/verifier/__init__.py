"""The verifier: code of strangers in, a program that may be compiled out, or why not.

Three stages, each of which needs the one before: `structure` (every instruction by itself), `flow`
(subprograms, blocks, calls), `analysing` (abstract interpretation). All refusals of a stage are reported.
Called by agent, compiler and CLI; a program that was not verified here is never compiled or interpreted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from zeroserve_ir.program.encoding import scan
from zeroserve_ir.program.isa import Atomic, Branch, CallHelper, CallLocal, Jump, Malformed, Store

from zeroserve_dataplane.verifier.accesses import Access, CagedAccess
from zeroserve_dataplane.verifier.analysing import analyse
from zeroserve_dataplane.verifier.flow import (
    Slots,
    Subprogram,
    check_calls,
    check_extents,
    check_targets,
    divide,
    find_callees,
    find_extents,
)
from zeroserve_dataplane.verifier.refusals import Refusal, Rule, diagnose
from zeroserve_dataplane.verifier.structure import check_sizes, check_structure

__all__ = ["Exposure", "Refusal", "Refused", "Rule", "Verified", "diagnose", "verify"]


class Exposure(IntEnum):
    """What a program can touch: names and numbers of Exposure in resources.proto."""

    CAGED = 0
    FAULTLESS = 1
    DETACHED = 2


@dataclass(frozen=True, slots=True)
class Verified:
    """A program that keeps every rule, and what was found out about it."""

    code: bytes
    constants_bytes: int
    slots: Slots
    subprograms: tuple[Subprogram, ...]
    """Callers first; the main program, at slot 0, is the first."""
    accesses: Mapping[int, Access]
    reachable: frozenset[int]
    """Starts of the blocks that control can reach."""

    @property
    def exposure(self) -> Exposure:
        """FAULTLESS where it reads exact places and bounded constants alone: then no access of it can fault.

        Stack and heap become writable by a fault, so a program that writes is CAGED. DETACHED are those
        besides that call nothing and never go backwards, so that they spend no fuel either.
        """
        if any(isinstance(access, CagedAccess) for access in self.accesses.values()):
            return Exposure.CAGED
        exposure = Exposure.DETACHED
        for slot in self.slots:
            match slot:
                case Store() | Atomic():
                    return Exposure.CAGED
                case CallHelper() | CallLocal():
                    exposure = Exposure.FAULTLESS
                case Jump() | Branch() if slot.distance < 0:
                    exposure = Exposure.FAULTLESS
        return exposure


@dataclass(frozen=True, slots=True)
class Refused:
    """The broken rules, in the order of the code; at least one."""

    refusals: tuple[Refusal, ...]


def verify(code: bytes, constants_bytes: int) -> Verified | Refused:
    """Judge a program that may read `constants_bytes` of constants; never raises."""
    scanned = scan(code)
    if refusals := tuple(check_sizes(scanned, constants_bytes)) or tuple(check_structure(scanned)):
        return Refused(refusals)
    slots = tuple(slot for slot in scanned if not isinstance(slot, Malformed))
    if refusals := tuple(check_targets(slots)):
        return Refused(refusals)
    extents = find_extents(slots)
    callees = find_callees(slots, extents)
    if refusals := (*check_extents(slots, extents), *check_calls(callees)):
        return Refused(refusals)
    subprograms = divide(slots, extents, callees)
    analysis = analyse(slots, subprograms, constants_bytes)
    if analysis.refusals:
        return Refused(analysis.refusals)
    return Verified(code, constants_bytes, slots, subprograms, analysis.accesses, analysis.reachable)
