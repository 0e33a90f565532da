"""Whether plugins' files harm whoever loads, verifies or runs them, or the neighbours of those.

In: seeds. Out: verdicts as of `judging`. A file is refused by the loader or the verifier, or its function
runs: interpreted, and natively in two processes, each run followed by one of a sound neighbour, which reads
all memory that a plugin has and must find what is its own.
"""

import signal
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

from zeroserve_dataplane.jit.targets import Tier
from zeroserve_dataplane.verifier import Verified, verify
from zeroserve_ir.plugins.assembling import assemble_module
from zeroserve_ir.plugins.faults import PluginError
from zeroserve_ir.plugins.loading import load
from zeroserve_ir.plugins.reading import READING_S_MAX
from zeroserve_ir.program import abi
from zeroserve_ir.program.isa import CallHelper

from fuzzing.cases import (
    MASK_64,
    Case,
    describe_beside,
    describe_interpreted,
    find_differences,
    interpret,
    run_together,
)
from fuzzing.judging import FUEL, TRAPS, Verdicts
from fuzzing.plugin_cases import Call, grant
from fuzzing.plugin_files import generate_file

NAME = "self"
_RANDOM = abi.BY_NAME["fill_random"].number
_NEIGHBOUR = f"""
.function f
mov %r6, %r1
mov %r0, 0
lddw %r1, {abi.HEAP}
lddw %r2, {abi.HEAP + abi.HEAP_BYTES}
heap:
ldxdw %r3, [%r1]
add %r0, %r3
add %r1, 8
jlt %r1, %r2, heap
lddw %r1, {abi.STACK}
lddw %r2, {abi.STACK_TOP}
stack:
ldxdw %r3, [%r1]
add %r0, %r3
add %r1, 8
jlt %r1, %r2, stack
ldxdw %r3, [%r6]
add %r0, %r3
exit
"""


class _TooLongError(Exception):
    pass


@contextmanager
def _limit(seconds):
    def end(_number, _frame):
        raise _TooLongError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def judge_files(seeds):
    """Load, verify and run the files of `seeds`."""
    verdicts = Verdicts()
    cases, kinds = [], []
    for seed in seeds:
        kind, content = generate_file(seed)
        try:
            with _limit(READING_S_MAX):
                module = load(content)
                program = verify(module.code, 0)
        except PluginError:
            verdicts.note(kind, "not loaded")
        except _TooLongError:
            verdicts.harms[f"file {seed} in the loader"] = "no end"
        else:
            if isinstance(program, Verified):
                cases.append(_carry(seed, kind, module, program))
                kinds.append(kind)
            else:
                verdicts.note(kind, "refused")
    if cases:
        judge_cases(cases, kinds, verdicts)
    return verdicts


def _carry(seed, kind, module, program):
    memory = bytes(range(256)).ljust(abi.CONTEXT_BYTES, b"\0")
    entry = module.functions[0].entry
    call = Call(
        grant(NAME),
        data=module.data,
        entry=entry,
        calls_itself=kind == "calls of itself",
        namespace=f"n{seed}",
    )
    return Case(f"file {seed}", program, b"", memory, FUEL, call)


def judge_cases(cases, kinds, verdicts):
    """Run cases and note how they end; what they should not have done is a harm."""
    references = [interpret(case) for case in cases]
    neighbour, wanted = make_neighbour()
    described = describe_beside(cases, neighbour, Tier.OPTIMISED)
    interpreted, both = run_together(describe_interpreted(cases), described)
    again = run_together(described)[0][::2]
    runs = {"interpreter": interpreted, "native": both[::2], "native again": again}
    for name, outcomes in runs.items():
        found = find_differences(cases, outcomes, references)
        verdicts.harms |= {f"{case} on {name}": difference for case, difference in found.items()}
    for number, (case, kind) in enumerate(zip(cases, kinds, strict=True)):
        _judge(case, kind, {name: outcomes[number] for name, outcomes in runs.items()}, verdicts)
        left = both[2 * number + 1]
        if (left.trapped, left.result & MASK_64) != (False, wanted):
            verdicts.harms[f"{case.name} beside a neighbour"] = (left.trap, left.result)


def _judge(case, kind, runs, verdicts):
    called = {slot.number for slot in case.program.slots if isinstance(slot, CallHelper)}
    seen = {name: _see(one) for name, one in runs.items()}
    if len(set(seen.values())) > 1 and _RANDOM not in called:
        verdicts.harms[f"{case.name} differs"] = seen
    for name, one in runs.items():
        trap = one.trap.split()[0] if one.trapped else "ended"
        if trap not in {*TRAPS, "ended"} or not 0 <= one.fuel_left <= case.fuel:
            verdicts.harms[f"{case.name} ended on {name}"] = (one.trap, one.fuel_left)
    verdicts.note(kind, runs["native"].trap.split()[0] if runs["native"].trapped else "ended")


def _see(outcome):
    """What a run shows; after a trap native code may have written less than an interpreter."""
    if outcome.trapped:
        return outcome.trap.split()[0]
    return outcome.result, outcome.fuel_left, outcome.memory


@cache
def make_neighbour():
    """Return the neighbour's case, and what it must give."""
    module = assemble_module(_NEIGHBOUR)
    program = verify(module.code, 0)
    assert isinstance(program, Verified), program
    data = bytes(range(1, 129))
    memory = bytes(range(200, 208))
    call = Call(grant("neighbour"), data=data, entry=1)
    words = [data[at : at + 8] for at in range(0, len(data), 8)]
    total = sum(int.from_bytes(word, "little") for word in (*words, memory)) & MASK_64
    case = Case("neighbour", program, b"", memory, abi.FUEL_DEFAULT, call)
    assert interpret(replace(case)).outcome.result == total
    return case, total
