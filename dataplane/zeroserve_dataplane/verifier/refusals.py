"""Why a program is refused: rules with their cures, findings, and their form as diagnostics.

Out of every stage of the verifier; read by agent and CLI. The rule: a refusal names the rule, the instruction
and what was found there; the cure belongs to the rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.program import abi
from zeroserve_ir.sources import NOWHERE, Span


class Rule(Enum):
    """What every program keeps: (message, cure)."""

    CODE_LENGTH = ("code is not whole instructions", "publish the code as the assembler wrote it")
    UNKNOWN_OPCODE = ("unknown opcode", "compile for RFC 9669: base, atomic and divmul groups (-mcpu=v4)")
    RESERVED_FIELD = ("a reserved field is not zero", "clear the fields that the instruction does not use")
    UNKNOWN_REGISTER = ("unknown register", "use r0 to r10")
    CALL_BY_REGISTER = ("call through a register", "call a helper or a subprogram directly")
    CALL_KIND = ("unknown kind of call", "call helpers by number (source 0) or subprograms (source 1)")
    LOAD_IMMEDIATE = ("malformed 64-bit load", "use a number (source 0) or constants (source 6), two slots")
    ATOMIC_OPERATION = ("unknown atomic operation", "use add, or, and, xor, xchg or cmpxchg")
    PROGRAM_SIZE = ("program is too long", f"split it: {abi.INSTRUCTIONS_MAX} slots at most")
    CONSTANTS_SIZE = ("constants are too large", f"{abi.CONSTANTS_BYTES_MAX} bytes at most")
    FRAME_POINTER = ("r10 is written", "copy r10 to another register first")
    JUMP_TARGET = ("target lies outside the code", "jump to an instruction of the program")
    JUMP_INTO_LOAD = ("target lies inside a 64-bit load", "jump to its first slot")
    JUMP_ACROSS = ("jump leaves its subprogram", "call the other subprogram, or move the target")
    FALL_OFF = ("control runs past the end of a subprogram", "end it with exit or a jump")
    UNKNOWN_HELPER = ("unknown helper", "use a helper of docs/abi.md")
    RECURSION = ("subprograms call each other in a circle", "use a loop")
    CALL_DEPTH = ("calls are nested too deep", f"{abi.CALL_DEPTH_MAX} frames at most")
    UNINITIALISED_REGISTER = (
        "register is read before it is written",
        "write it on every path that leads here",
    )
    STACK_BOUNDS = ("access outside the stack frame", f"stay in r10-{abi.FRAME_BYTES} to r10")
    CONTEXT_BOUNDS = ("access outside the context", f"stay in its {abi.CONTEXT_BYTES} bytes")
    CONSTANTS_BOUNDS = (
        "access outside the constants",
        "mask the index to a power of two that fits into them",
    )
    CONSTANTS_WRITE = ("constants are written", "copy them to the stack first")
    UNMAPPED_ADDRESS = ("address is not mapped", "use context, stack, heap or constants")
    MIXED_POINTER = (
        "pointer may or may not lead to the constants",
        "keep pointers to constants apart: add masked numbers to them, nothing else",
    )
    MISALIGNED_ATOMIC = ("atomic access is not aligned", "align it to its size")
    RESULT_POINTER = ("a pointer to constants is returned", "return a number")
    ARGUMENT_TYPE = ("helper argument has the wrong type", "see the helper's row in docs/abi.md")
    ARGUMENT_BOUNDS = ("helper would leave the memory it is given", "pass a length that fits")
    COMPLEXITY = ("program takes too long to verify", "split it, or keep fewer values in its loops")


@dataclass(frozen=True, slots=True)
class Refusal:
    """One broken rule: the slot of the instruction, and what was found there."""

    rule: Rule
    slot: int
    found: str


def diagnose(
    refusals: Iterable[Refusal], lines: Sequence[tuple[int, Span | str]] = ()
) -> tuple[Diagnostic, ...]:
    """Return refusals as diagnostics; `lines` are (first slot, place in the source), by slot."""
    return tuple(_diagnose(refusal, lines) for refusal in refusals)


def _diagnose(refusal: Refusal, lines: Sequence[tuple[int, Span | str]]) -> Diagnostic:
    message, cure = refusal.rule.value
    place = _find_place(refusal.slot, lines)
    at = f" ({place})" if isinstance(place, str) and place else ""
    return Diagnostic(
        code=Code.ZS0602 if refusal.rule in _SIZE_RULES else Code.ZS0601,
        message=f"instruction {refusal.slot}{at}: {message}: {refusal.found}",
        span=place if isinstance(place, Span) else NOWHERE,
        label=message,
        help=cure,
    )


def _find_place(slot: int, lines: Sequence[tuple[int, Span | str]]) -> Span | str:
    place: Span | str = NOWHERE
    for first, candidate in lines:
        if first > slot:
            break
        place = candidate
    return place


_SIZE_RULES = (Rule.PROGRAM_SIZE, Rule.CONSTANTS_SIZE)
