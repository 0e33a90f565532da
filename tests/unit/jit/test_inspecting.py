"""What `zeroserve compile --emit` and `zeroserve bpf` print."""

import re

import pytest
from zeroserve_dataplane.jit.inspecting import (
    Run,
    assemble_source,
    print_llvm,
    print_machine_code,
    run_on_reference,
    verify_source,
)
from zeroserve_dataplane.jit.targets import Target, Tier
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import DiagnosticError

LOOP = "mov %r0, 0\nldxb %r1, [%r1]\nloop:\nadd %r0, %r1\nsub %r1, 1\njne %r1, 0, loop\nexit\n"


@pytest.fixture
def program():
    source = assemble_source(LOOP, "sum.bpf")
    return verify_source(source.code, 0, source.lines)


def test_llvm_has_the_entry_of_the_abi(program):
    text = print_llvm(program)
    assert (
        "define i64 @run(ptr %window, ptr noalias %vm, ptr noalias readonly %constants, i64 %entry)" in text
    )


@pytest.mark.parametrize(("target", "returning"), [(Target.X86_64, "retq"), (Target.AARCH64, "ret")])
@pytest.mark.parametrize("tier", list(Tier))
def test_machine_code_is_printed_for_each_target(program, target, returning, tier):
    assert f"\t{returning}\n" in print_machine_code(program, target, tier)


def test_program_runs_on_the_reference(program):
    outcome, _ = run_on_reference(program, Run(memory=b"\x04"), helpers=None)
    assert (outcome.result, outcome.trap) == (10, None)


def test_assembly_error_is_a_diagnostic_with_file_and_line():
    with pytest.raises(DiagnosticError) as caught:
        assemble_source("mov %r0, 0\nmove %r0, 1", "bad.bpf")
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.span.file, diagnostic.span.line) == ("bad.bpf", 2)


def test_file_without_an_instruction_is_a_diagnostic_with_its_name():
    with pytest.raises(DiagnosticError) as caught:
        assemble_source("# nothing\n", "bare.bpf")
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.span.file) == (Code.ZS0001, "bare.bpf")


def test_refusal_is_a_diagnostic_with_file_and_line():
    source = assemble_source("mov %r0, 0\n\nldxb %r0, [%r10]\nexit", "bad.bpf")
    with pytest.raises(DiagnosticError) as caught:
        verify_source(source.code, 0, source.lines)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code is Code.ZS0601
    assert (diagnostic.span.file, diagnostic.span.line) == ("bad.bpf", 3)


@pytest.mark.parametrize(
    ("target", "mask"),
    [(Target.X86_64, r"#NO_APP\n\tmovl\t%e"), (Target.AARCH64, r"//NO_APP\n\tadd.*, uxtw\n")],
)
def test_mask_of_the_cage_survives_the_branch_that_implies_it(target, mask):
    """Spectre v1: LLVM would delete the mask after `jgt`; the assembly between them hides the branch."""
    source = assemble_source(
        "ldxw %r3, [%r1]\nmov %r0, 0\njgt %r3, 1000, out\nldxb %r0, [%r3+256]\nout:\nexit", "spectre.bpf"
    )
    assert re.search(mask, print_machine_code(verify_source(source.code, 0), target, Tier.OPTIMISED))


@pytest.mark.parametrize(
    ("target", "mask"), [(Target.X86_64, r"andl\t\$7, %e"), (Target.AARCH64, r"and\tx\d+, x\d+, #0x7\n")]
)
def test_mask_of_constants_survives_the_branch_that_implies_it(target, mask):
    source = assemble_source(
        "ldxb %r3, [%r1]\nmov %r0, 0\njgt %r3, 7, out\nand %r3, 7\nlddw %r4, constants+8\n"
        "add %r4, %r3\nldxb %r0, [%r4]\nout:\nexit",
        "spectre.bpf",
    )
    assert re.search(mask, print_machine_code(verify_source(source.code, 16), target, Tier.OPTIMISED))
