"""Whether attacks harm: each must be refused, or end within its budget, itself or trapped, and learn nothing.

Rule: an attack that runs, runs three times: on the reference, which has no native address to tell, and in two
engine processes, whose addresses differ. What is equal in all three holds no address.
"""

from collections import Counter
from dataclasses import dataclass, field

from zeroserve_dataplane.jit.targets import Tier
from zeroserve_dataplane.verifier import Verified, verify
from zeroserve_ir.program import abi

from fuzzing.attacks import generate_attack
from fuzzing.cases import (
    Case,
    describe_interpreted,
    describe_native,
    find_differences,
    interpret,
    run_together,
)

FUEL = 20_000
TRAPS = frozenset({"fuel", "memory", "helper"})


@dataclass
class Verdicts:
    """How attacks ended, by kind; `harms`: what should not have been, by seed."""

    endings: dict = field(default_factory=dict)
    harms: dict = field(default_factory=dict)

    def note(self, kind, ending):
        """Count one."""
        self.endings.setdefault(kind, Counter())[ending] += 1


def judge_attacks(seeds, *, carry=generate_attack):
    """Run the attacks of `seeds`; `carry` makes one of a seed (a plugin's carrier wraps its code first)."""
    verdicts = Verdicts()
    cases, kinds = [], []
    for seed in seeds:
        attack = carry(seed)
        program = verify(attack.code, len(attack.constants))
        if isinstance(program, Verified):
            memory = bytes(range(256)).ljust(abi.CONTEXT_BYTES, b"\0")
            cases.append(Case(f"seed {seed}", program, attack.constants, memory, FUEL))
            kinds.append(attack.kind)
        else:
            verdicts.note(attack.kind, "refused")
    references = [interpret(case) for case in cases]
    native = describe_native(cases, Tier.OPTIMISED)
    names = ("interpreter", "native", "native again")
    outcomes = (*run_together(describe_interpreted(cases), native), *run_together(native))
    runs = dict(zip(names, outcomes, strict=True))
    for name, outcomes in runs.items():
        found = find_differences(cases, outcomes, references)
        verdicts.harms |= {f"{case} on {name}": difference for case, difference in found.items()}
    both = zip(cases, kinds, runs["native"], runs["native again"], strict=True)
    for case, kind, once, again in both:
        _judge(case, kind, once, again, verdicts)
    return verdicts


def _judge(case, kind, once, again, verdicts):
    seen = [(one.trapped, one.result, one.fuel_left, one.memory) for one in (once, again)]
    if seen[0] != seen[1]:
        verdicts.harms[f"{case.name} in two processes"] = seen
    trap = once.trap.split()[0] if once.trapped else "ended"
    if trap not in {*TRAPS, "ended"} or not 0 <= once.fuel_left <= case.fuel:
        verdicts.harms[f"{case.name} ended"] = (once.trap, once.fuel_left)
    verdicts.note(kind, trap)
