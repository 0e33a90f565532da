"""Native code touches what is its program's and nothing else, also where a branch was mispredicted."""

from random import Random

import pytest
from fuzzing import mutating, tangled_programs
from fuzzing.machine_addresses import Checker
from unit.jit import program_generation, vectors
from zeroserve_dataplane.jit.emitting import emit_assembly
from zeroserve_dataplane.jit.targets import Target, Tier
from zeroserve_dataplane.jit.translating import translate
from zeroserve_dataplane.jit.writing import Writer
from zeroserve_dataplane.verifier import Exposure, Verified, verify
from zeroserve_ir.program.assembly import assemble

RANDOM_PROGRAMS = 150
CAGED = "ldxdw %r3, [%r1]\nmov %r0, 0\njgt %r3, 1000, out\nldxb %r0, [%r3+256]\nout:\nexit"
INDEXED = """
ldxb %r3, [%r1]
mov %r0, 0
jgt %r3, 7, out
and %r3, 7
lddw %r4, constants+8
add %r4, %r3
ldxb %r0, [%r4]
out:
exit
"""


def find_wild(verified, tier):
    assembly = emit_assembly(translate(verified), Target.X86_64, tier)
    return Checker(verified.constants_bytes, verified.exposure).check(assembly)


def read(text, constants_bytes=0):
    return verify(assemble(text).code, constants_bytes)


def check(verified):
    for tier in Tier:
        assert find_wild(verified, tier) == []


@pytest.mark.parametrize("path", vectors.PATHS, ids=lambda path: path.stem)
def test_vectors_stay_inside(path):
    check(vectors.Vector(path).verify())


@pytest.mark.parametrize("generator", [program_generation, tangled_programs])
def test_random_programs_stay_inside(generator):
    made = [generator.generate(Random(seed)) for seed in range(RANDOM_PROGRAMS // 2)]
    verdicts = [verify(one.code, len(one.constants)) for one in made]
    for verified in (one for one in verdicts if isinstance(one, Verified)):
        check(verified)


def test_programs_of_sites_stay_inside():
    for code, constants_bytes in mutating.read_programs():
        check(verify(code, constants_bytes))


@pytest.mark.parametrize(("text", "constants_bytes"), [(CAGED, 0), (INDEXED, 16)], ids=["caged", "constants"])
def test_a_mask_that_only_a_branch_stands_for_is_missed(monkeypatch, text, constants_bytes):
    """LLVM drops a mask which it can see through: what is left is bounded by the branch alone."""
    monkeypatch.setattr(Writer, "_mask", lambda writer, value, mask: writer.emit(f"and i64 {value}, {mask}"))
    assert find_wild(read(text, constants_bytes), Tier.OPTIMISED)


def test_an_address_without_a_mask_is_found(monkeypatch):
    monkeypatch.setattr(Writer, "_mask", lambda writer, value, mask: value)
    for tier in Tier:
        assert find_wild(read("ldxdw %r3, [%r1]\nldxb %r0, [%r3]\nexit"), tier)


def test_an_index_beyond_the_constants_is_found():
    verified = read(INDEXED, 16)
    assembly = emit_assembly(translate(verified), Target.X86_64, Tier.OPTIMISED)
    assert Checker(15, verified.exposure).check(assembly)


def test_code_that_nobody_recovers_may_touch_exact_places_alone():
    assembly = emit_assembly(translate(read(CAGED)), Target.X86_64, Tier.OPTIMISED)
    assert Checker(0, Exposure.CAGED).check(assembly) == []
    assert Checker(0, Exposure.FAULTLESS).check(assembly)


@pytest.mark.parametrize(
    "line",
    [
        "movq\t%rdi, 65536(%rdi)",
        "movq\t%rdi, %rax",
        "movl\t%edi, %eax",
        "movq\t%rdi, -8(%rsp)\n\tmovl\t-8(%rsp), %eax",
        "movl\t$1, (%rdx)",
        "movl\t$1, (%rsi)",
        "movq\t(%rsp), %rax",
        "movq\t$1, (%rsp)",
        "callq\t*%rax",
        "xorq\t%rdi, %rax",
        "wrmsr",
    ],
)
def test_what_no_program_may_do_is_found(line):
    assert Checker(64, Exposure.CAGED).check(f"run:\n\t{line}\n\tretq\n")
