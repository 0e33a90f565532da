"""A program and what it runs on; what the reference interpreter makes of it, and the engine, in batches.

Rule: the reference knows no native address, so whatever agrees with it has none to tell.
"""

import re
from dataclasses import dataclass
from itertools import islice

from unit.jit.engine_helpers import EngineHelpers
from zeroserve_dataplane.interpreter import Interpreter, Memory, Outcome
from zeroserve_dataplane.jit import emitting, extracting, translating
from zeroserve_dataplane.jit.inspecting import ExecutionError, execute
from zeroserve_dataplane.jit.targets import Target, Tier, find_host_target
from zeroserve_dataplane.marking import mark_loads
from zeroserve_dataplane.verifier import Verified
from zeroserve_engine import find_binary
from zeroserve_ir._pb import execution_pb2, resources_pb2
from zeroserve_ir.program import abi
from zeroserve_ir.program.abi import Argument
from zeroserve_ir.program.isa import CallHelper

from fuzzing.plugin_cases import Call, describe_execution, observe, observe_outcome
from fuzzing.plugin_documents import UnsureError
from fuzzing.plugin_helpers import PluginHelpers, Request

_NAMES = re.compile(rf"@({translating.ENTRY_NAME}\b|subprogram(?=\d))")
MODULE_PROGRAMS = 32
"""Of one LLVM module: they share its price."""
MASK_64 = (1 << 64) - 1
DEATH = "death"
"""A trap that no engine tells: of whoever ended it."""


@dataclass(frozen=True)
class Case:
    """One run of a verified program."""

    name: str
    program: Verified
    constants: bytes
    memory: bytes
    fuel: int
    call: Call | None = None
    """None: a route program, without a request."""


@dataclass(frozen=True)
class Reference:
    """How the reference ended; not `comparable` where it does not know what a helper would have done."""

    outcome: Outcome
    memory: bytes
    comparable: bool
    request: Request | None = None


_KNOWN = frozenset(
    abi.BY_NAME[name].number
    for name in (
        "read_request_header",
        "write_request_header",
        "write_response_header",
        "log_message",
        "limit_request_body",
    )
)


def is_comparable(program):
    """Whether the reference has all helpers: what takes a row traps in it as in an engine without tables."""
    called = {slot.number for slot in program.slots if isinstance(slot, CallHelper)}
    return all(abi.BY_NUMBER[number].arguments[:1] == (Argument.ROW,) for number in called - _KNOWN)


def interpret(case):
    """Run a case on the reference."""
    memory = Memory(case.constants)
    memory.write(abi.CONTEXT, case.memory)
    if case.call is not None:
        return _interpret_call(case, memory)
    outcome = EngineHelpers().run(case.program, memory, case.fuel, len(case.memory))
    return Reference(outcome, memory.read(abi.CONTEXT, len(case.memory)), is_comparable(case.program))


def _interpret_call(case, memory):
    memory.write(abi.HEAP, case.call.data)
    helpers = PluginHelpers(case.call.granted, case.call.request)
    if case.call.calls_itself:
        return Reference(UNKNOWN, b"", comparable=False)
    interpreter = Interpreter(case.program, memory, helpers, case.fuel)
    helpers.charge = interpreter.charge
    try:
        outcome = interpreter.run(case.call.entry)
    except UnsureError:
        return Reference(UNKNOWN, b"", comparable=False)
    return Reference(
        outcome, memory.read(abi.CONTEXT, len(case.memory)), comparable=True, request=helpers.request
    )


UNKNOWN = Outcome(0, None, "not known", 0)


def run_interpreted(cases):
    """Run cases by the engine's interpreter."""
    return run_together(describe_interpreted(cases))[0]


def run_native(cases, tier):
    """Run cases by native code."""
    return run_together(describe_native(cases, tier))[0]


def describe_interpreted(cases):
    """Return what has the engine interpret the cases."""
    return [_execution(case, mark_loads(case.program), 0, "ebpf") for case in cases]


def describe_native(cases, tier):
    """Return what has the engine run the cases natively; they are compiled here, some in a module."""
    target = find_host_target()
    described = []
    for first in range(0, len(cases), MODULE_PROGRAMS):
        together = cases[first : first + MODULE_PROGRAMS]
        codes = compile_together([case.program for case in together], target, tier)
        described += [
            _execution(case, code, 0, target.value) for case, code in zip(together, codes, strict=True)
        ]
    return described


def describe_beside(cases, neighbour, tier):
    """Return what has the engine run the cases natively, and a neighbour after each of them."""
    *described, beside = describe_native([*cases, neighbour], tier)
    return [each for one in described for each in (one, beside)]


def run_together(*groups):
    """Run groups of executions in one engine process, whose start costs as much as a thousand of them."""
    executions = [one for group in groups for one in group]
    try:
        outcomes = iter(execute([str(find_binary())], executions))
    except ExecutionError:
        outcomes = map(_run_alone, executions)
    return [list(islice(outcomes, len(group))) for group in groups]


def _run_alone(execution):
    """Run what may be the one that ended the engine; that it did is then its outcome."""
    try:
        return execute([str(find_binary())], [execution])[0]
    except ExecutionError as error:
        return execution_pb2.Outcome(trapped=True, trap=f"{DEATH}: {error}")


def compile_together(programs, target: Target, tier: Tier):
    """Return the code of each program: LLVM keeps the order of functions; the first of each is its entry."""
    parts = []
    for number, program in enumerate(programs):
        body = translating.translate(program).removesuffix(translating._TAIL)
        parts.append(_NAMES.sub(lambda found, number=number: f"@p{number}_{found[1]}", body))
    machine, module = emitting._optimise("\n".join(parts) + translating._TAIL, target, tier)
    sections = extracting._read_sections(bytes(machine.emit_object(module)), target)
    (text,) = (section.content for section in sections if section.name == ".text")
    symbols = (symbol for section in sections for symbol in extracting._read_symbols(section, sections))
    places = {name: value for name, _, value in symbols}
    starts = [places[f"p{number}_{translating.ENTRY_NAME}"] for number in range(len(parts))]
    assert starts[0] == 0 and starts == sorted(starts), starts
    return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def _execution(case, code, entry, target):
    image = resources_pb2.Image(
        abi=abi.ABI_VERSION,
        target=target,
        entry=entry,
        constants_bytes=len(case.constants),
        exposure=case.program.exposure.name,
    )
    if case.call is not None:
        return describe_execution(case, code, image)
    return execution_pb2.Execution(
        image=image, code=code, constants=case.constants, memory=case.memory, fuel=case.fuel
    )


def find_differences(cases, outcomes, references):
    """Name of a case to (got, want) where they differ."""
    differences = {}
    for case, got, reference in zip(cases, outcomes, references, strict=True):
        dead = got.trap.startswith(DEATH)
        if dead or (reference.comparable and not _agrees(got, reference)):
            differences[case.name] = (got.trap, got.result & MASK_64, got.fuel_left, reference.outcome)
    return differences


def _agrees(got, reference):
    want = reference.outcome
    if want.trap is not None:
        return got.trapped and got.trap.split()[0] == want.trap.name.lower()
    ended = (got.trapped, got.result & MASK_64, got.fuel_left, got.memory)
    if ended != (False, want.result, want.fuel, reference.memory):
        return False
    return reference.request is None or observe(reference.request) == observe_outcome(got)
