"""Random, tangled and mutated programs on the reference, the engine's interpreter and native code.

In: seeds. Out: how many were compared, and the differences, each under a name that repeats it. Equal seeds
give equal programs.
"""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from unit.jit import engine_helpers, program_generation
from zeroserve_dataplane.jit.targets import Tier
from zeroserve_dataplane.verifier import Refused, Rule, Verified, verify
from zeroserve_ir.program import abi
from zeroserve_ir.program.disassembling import disassemble
from zeroserve_ir.program.isa import SLOT_BYTES

from fuzzing import claims, plugin_programs, tangled_programs
from fuzzing.cases import (
    Case,
    describe_interpreted,
    describe_native,
    find_differences,
    interpret,
    run_together,
)
from fuzzing.mutating import mutate
from fuzzing.plugin_cases import EVERYTHING, Call, grant

BATCH = 256
"""Seeds of one LLVM module and one engine process."""
OPTIMISED_SEEDS = 32
OPTIMISED_EVERY = 8
"""The optimised tier takes ten times as long to make: 32 seeds of each 256 have it, others are FAST."""
MEMORY_BYTES = 4096
"""Of the context that is given and compared: what random programs touch but for wild ones. With the optimised
tier it is the whole, which takes a fifth longer to send."""
MUTATED_EVERY = 4
"""Each fourth program is a real one, changed."""
MUTATIONS_MAX = 4
"""Changes of a real one that are tried until the verifier takes the program."""
PLUGIN_EVERY = 2
"""Half of them call the helpers of plugins."""
TANGLED_EVERY, TANGLED_AT = 8, 6
"""Each eighth has no order at all; what the verifier says of it is held against a run of it, step by step."""
NUMBER_OFFSET = 4
"""Where an instruction's number begins; helpers and atomic operations fit its first byte."""
NUMBERED = frozenset((0x85, 0xC3, 0xDB))
"""Opcodes of calls and atomics (RFC 9669, sections 4.3 and 5.3)."""
SECOND_HALF = 0
_CAPABILITIES = (*(EVERYTHING & ~one for one in abi.Capability), *[EVERYTHING] * len(abi.Capability))
"""Half of the calls lack one."""


@dataclass
class Report:
    """What a batch, or a run of batches, came to."""

    compared: int = 0
    refused: int = 0
    endings: Counter = field(default_factory=Counter)
    coverage: Counter = field(default_factory=Counter)
    """Slots of compared programs by opcode; of helpers and atomics also by (opcode, number)."""
    differences: dict = field(default_factory=dict)

    def add(self, other):
        """Take another report's numbers."""
        self.compared += other.compared
        self.refused += other.refused
        self.endings += other.endings
        self.coverage += other.coverage
        self.differences |= other.differences


def count_instructions(program):
    """Count a program's slots by opcode, and those that say more in their number by both."""
    opcodes, numbers = program.code[::SLOT_BYTES], program.code[NUMBER_OFFSET::SLOT_BYTES]
    counted = Counter(opcodes)
    del counted[SECOND_HALF]
    counted.update(both for both in zip(opcodes, numbers, strict=True) if both[0] in NUMBERED)
    return counted


def generate_case(seed):
    """Return the program of a seed; None where the verifier refuses it, or all that comes of a real one."""
    random = Random(seed)
    if seed % MUTATED_EVERY == 0:
        for _ in range(MUTATIONS_MAX):
            code, constants_bytes = mutate(random)
            program = verify(code, constants_bytes)
            if isinstance(program, Verified):
                break
        else:
            return None
        constants = random.randbytes(constants_bytes)
        memory = random.randbytes(_measure_memory(seed))
        return Case(f"seed {seed}", program, constants, memory, random.randint(1, 5000))
    if seed % PLUGIN_EVERY == 1:
        return _generate_call(random, seed)
    if is_tangled(seed):
        return _generate_tangled(random, seed)
    made = program_generation.generate(random, helpers=engine_helpers.HELPERS)
    constants = engine_helpers.spell(made.constants)
    program = _verify_made(seed, made.code, len(constants))
    if program is None:
        return None
    memory = made.memory.ljust(_measure_memory(seed), b"\0")
    return Case(f"seed {seed}", program, constants, memory, max(made.fuel, 1))


def is_tangled(seed):
    """Whether a seed's program is one without order."""
    return seed % TANGLED_EVERY == TANGLED_AT


def _generate_tangled(random, seed):
    made = tangled_programs.generate(random)
    if made is None:
        return None
    program = _verify_made(seed, made.code, len(made.constants))
    return Case(
        f"seed {seed}", program, made.constants, made.memory.ljust(_measure_memory(seed), b"\0"), made.fuel
    )


def _verify_made(seed, code, constants_bytes):
    """Return a made program; None where it overwrites an address with a known number and follows that."""
    program = verify(code, constants_bytes)
    if isinstance(program, Refused) and {one.rule for one in program.refusals} == {Rule.UNMAPPED_ADDRESS}:
        return None
    assert isinstance(program, Verified), (seed, program, disassemble(code))
    return program


def _measure_memory(seed):
    return abi.CONTEXT_BYTES if find_tier(seed) is Tier.OPTIMISED else MEMORY_BYTES


def find_tier(seed):
    """Return the tier of the native code that a seed's program becomes."""
    return Tier.OPTIMISED if seed // OPTIMISED_SEEDS % OPTIMISED_EVERY == 0 else Tier.FAST


def _generate_call(random, seed):
    made = plugin_programs.generate(random)
    program = _verify_made(seed, made.code, len(made.constants))
    if program is None:
        return None
    capabilities = random.choice(_CAPABILITIES)
    call = Call(grant(f"p{seed}", capabilities), data=random.randbytes(random.randrange(128)))
    memory = made.memory.ljust(_measure_memory(seed), b"\0")
    return Case(f"seed {seed}", program, made.constants, memory, max(made.fuel, 1), call)


def run_batch(first):
    """Compare the programs of seeds `first` to `first` + BATCH - 1 on all executions."""
    return run_seeds(range(first, first + BATCH))


def run_seeds(seeds):
    """Compare the programs of seeds on all executions."""
    made = {seed: generate_case(seed) for seed in seeds}
    cases = [case for case in made.values() if case is not None]
    tiers = {tier: [] for tier in Tier}
    for seed, case in made.items():
        if case is not None:
            tiers[find_tier(seed)].append(case)
    references = {case.name: interpret(case) for case in cases}
    report = Report(len(cases), len(made) - len(cases))
    for case in cases:
        report.coverage += count_instructions(case.program)
    report.endings.update(
        reference.outcome.trap.name if reference.outcome.trap else "END" for reference in references.values()
    )
    for seed, case in made.items():
        if case is not None and is_tangled(seed) and (broken := claims.find_broken_claim(case)):
            report.differences[f"{case.name} on the verifier"] = broken
    executions = {
        "interpreter": (cases, describe_interpreted(cases)),
        **{tier.value: (run, describe_native(run, tier)) for tier, run in tiers.items()},
    }
    ended = run_together(*(described for _, described in executions.values()))
    for (name, (run, _)), outcomes in zip(executions.items(), ended, strict=True):
        found = find_differences(run, outcomes, [references[case.name] for case in run])
        report.differences |= {f"{case} on {name}": difference for case, difference in found.items()}
    return report
