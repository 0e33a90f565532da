"""Helper calls: whether arguments have the types of the helper's row in abi.HELPERS.

In: the helper and the values of r1 to r5. Out: refusals. The rule: what is known must fit; what is not known
is checked by the helper itself, always.
"""

from __future__ import annotations

from collections.abc import Iterator

from zeroserve_ir.program import abi
from zeroserve_ir.program.abi import Argument

from zeroserve_dataplane.verifier.refusals import Refusal, Rule
from zeroserve_dataplane.verifier.states import ARGUMENTS, State
from zeroserve_dataplane.verifier.values import Region, Value, exactly


def check_arguments(slot: int, helper: abi.Helper, state: State, constants_bytes: int) -> Iterator[Refusal]:
    """Refuse arguments that are missing, of another type, or lead out of their memory."""
    named = [
        (argument, register)
        for argument, register in zip(helper.arguments, ARGUMENTS, strict=False)
        if argument is not Argument.NONE
    ]
    for position, (argument, register) in enumerate(named):
        value = state.get(register)
        if value.region is Region.UNINITIALISED:
            found = f"r{register.value} of {helper.name}"
            yield Refusal(Rule.UNINITIALISED_REGISTER, slot, found)
        elif argument in (Argument.READ, Argument.WRITE):
            name, length = f"r{register.value}", state.get(named[position + 1][1])
            yield from _check_memory(slot, argument, name, value, length, constants_bytes=constants_bytes)
        elif argument is Argument.DIGEST:
            length = exactly(abi.DIGEST_BYTES)
            name = f"r{register.value}"
            yield from _check_memory(
                slot, Argument.WRITE, name, value, length, constants_bytes=constants_bytes
            )
        elif value.region is not Region.NUMBER:
            found = f"r{register.value} of {helper.name} is {value.region.value}"
            yield Refusal(Rule.ARGUMENT_TYPE, slot, found)


def _check_memory(
    slot: int, argument: Argument, name: str, value: Value, length: Value, *, constants_bytes: int
) -> Iterator[Refusal]:
    if not length.is_number:
        return  # refused in its own right
    if length.high < 0 or (length.is_exact and length.low > abi.CONSTANTS_BYTES_MAX):
        yield Refusal(Rule.ARGUMENT_BOUNDS, slot, f"length {length} beside {name}")
        return
    least = max(length.low, 0)
    match value.region:
        case Region.MIXED:
            yield Refusal(Rule.MIXED_POINTER, slot, name)
        case Region.CONSTANTS if argument is Argument.WRITE:
            yield Refusal(Rule.CONSTANTS_WRITE, slot, name)
        case Region.CONSTANTS:
            # What is in the constants is fixed: a length that does not provably fit is a mistake.
            if length.low < 0 or value.low < 0 or value.high + length.high > constants_bytes:
                found = f"{name}: {length} bytes at {value.low} of {constants_bytes}"
                yield Refusal(Rule.CONSTANTS_BOUNDS, slot, found)
        case Region.STACK:
            if value.high < -abi.FRAME_BYTES or value.low + least > 0:
                yield Refusal(Rule.ARGUMENT_BOUNDS, slot, f"{name}: {length} bytes at r10{value.low:+d}")
        case Region.CONTEXT:
            if value.high < 0 or value.low + least > abi.CONTEXT_BYTES:
                yield Refusal(Rule.ARGUMENT_BOUNDS, slot, f"{name}: {length} bytes at context{value.low:+d}")
        case _:
            return
