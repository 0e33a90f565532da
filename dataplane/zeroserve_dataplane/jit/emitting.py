"""LLVM IR text as machine code: llvmlite compiles, pyelftools proves that nothing is left to link.

In: the text of a module. Out: `.text` alone, position-independent, and where `run` starts in it. Runs in the
compile workers only. The rule: an object with a relocation, an undefined symbol or another allocated section
is a defect of ours and never leaves here.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache

import llvmlite.binding as llvm
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

from zeroserve_dataplane.jit.targets import Target, Tier
from zeroserve_dataplane.jit.translating import ENTRY_NAME
from zeroserve_dataplane.jit.tuning import tune

_ALLOCATED = 0x2  # SHF_ALLOC


class EmissionError(Exception):
    """LLVM made, or would have made, something that cannot be mapped as it is: a defect of ours."""


@dataclass(frozen=True, slots=True)
class MachineCode:
    """Position-independent code, and the byte offset of `run` in it."""

    text: bytes
    entry: int


def emit(ir: str, target: Target, tier: Tier) -> MachineCode:
    """Compile a module; raises EmissionError."""
    machine, module = _optimise(ir, target, tier)
    return extract(bytes(machine.emit_object(module)), target)


def emit_assembly(ir: str, target: Target, tier: Tier) -> str:
    """Return a module as assembly text of the target, for people."""
    machine, module = _optimise(ir, target, tier)
    return str(machine.emit_assembly(module))


def extract(content: bytes, target: Target) -> MachineCode:
    """Return `.text` of an object after proving that it needs nothing else; raises EmissionError."""
    elf = ELFFile(io.BytesIO(content))
    if elf["e_machine"] != target.machine.elf:
        raise EmissionError(f"object is for {elf['e_machine']}, not {target.machine.elf}")
    text = elf.get_section_by_name(".text")
    if text is None:
        raise EmissionError("object has no .text")
    for index, section in enumerate(elf.iter_sections()):
        if isinstance(section, RelocationSection) and section.num_relocations():
            applied = elf.get_section(section["sh_info"])
            if applied["sh_flags"] & _ALLOCATED:
                raise EmissionError(f"{section.num_relocations()} relocations in {applied.name}")
        elif section["sh_flags"] & _ALLOCATED and section["sh_size"] and section.name != ".text":
            raise EmissionError(f"section {section.name} of {section['sh_size']} bytes beside .text")
        elif isinstance(section, SymbolTableSection):
            undefined = [
                symbol.name
                for symbol in section.iter_symbols()
                if symbol["st_shndx"] == "SHN_UNDEF" and symbol.name
            ]
            if undefined:
                raise EmissionError(f"undefined symbols {', '.join(undefined)} (section {index})")
    symbols = elf.get_section_by_name(".symtab")
    entries = symbols.get_symbol_by_name(ENTRY_NAME) if isinstance(symbols, SymbolTableSection) else None
    if not entries:
        raise EmissionError(f"object has no {ENTRY_NAME}")
    return MachineCode(bytes(text.data()), int(entries[0]["st_value"]))


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
def _find_machine(target: Target, tier: Tier) -> llvm.TargetMachine:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = target.machine
    return llvm.Target.from_triple(machine.triple).create_target_machine(
        cpu=machine.cpu,
        features=machine.features,
        opt=2 if tier is Tier.OPTIMISED else 0,
        reloc="pic",
        codemodel="small",
    )
