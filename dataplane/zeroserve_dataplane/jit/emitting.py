"""LLVM IR text as machine code, by llvmlite.

In: the text of a module. Out: position-independent code, which needs nothing beside it (`extracting` proves
that). Runs in the compile workers only.
"""

from __future__ import annotations

from functools import cache

import llvmlite.binding as llvm

from zeroserve_dataplane.jit.extracting import EmissionError, MachineCode, extract
from zeroserve_dataplane.jit.targets import Target, Tier
from zeroserve_dataplane.jit.tuning import tune


def emit(ir: str, target: Target, tier: Tier) -> MachineCode:
    """Compile a module; raises EmissionError."""
    machine, module = _optimise(ir, target, tier)
    return extract(bytes(machine.emit_object(module)), target)


def emit_assembly(ir: str, target: Target, tier: Tier) -> str:
    """Return a module as assembly text of the target, for people."""
    machine, module = _optimise(ir, target, tier)
    return str(machine.emit_assembly(module))


def _optimise(ir: str, target: Target, tier: Tier) -> tuple[llvm.TargetMachine, llvm.ModuleRef]:
    machine = _find_machine(target, tier)
    try:
        module = llvm.parse_assembly(ir)
    except RuntimeError as error:
        raise EmissionError(f"LLVM refuses our text: {error}") from error
    module.triple = target.machine.triple
    module.data_layout = str(machine.target_data)
    builder = llvm.create_pass_builder(machine, tune())
    if tier is Tier.OPTIMISED:
        passes = builder.getModulePassManager()
    else:
        passes = llvm.create_new_module_pass_manager()
        passes.add_sroa_pass()
        passes.add_instruction_combine_pass()
        passes.add_simplify_cfg_pass()
    passes.run(module, builder)
    return machine, module


@cache
def _prepare() -> None:
    """Initialise LLVM, once in a process."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    # Else x86's pass makes a volatile load conditional on its value being taken: it would not trap.
    llvm.set_option("zeroserve", "-x86-cmov-converter-force-mem-operand=false")


@cache
def _find_machine(target: Target, tier: Tier) -> llvm.TargetMachine:
    _prepare()
    machine = target.machine
    return llvm.Target.from_triple(machine.triple).create_target_machine(
        cpu=machine.cpu,
        features=machine.features,
        opt=2 if tier is Tier.OPTIMISED else 0,
        reloc="pic",
        codemodel="small",
    )
