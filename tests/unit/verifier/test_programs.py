"""The verifier's specification: programs it refuses, by rule and instruction, and programs it accepts."""

from pathlib import Path

import pytest
from zeroserve_dataplane.verifier import Refused, Rule, Verified, diagnose, verify
from zeroserve_ir.codes import Code
from zeroserve_ir.program import abi
from zeroserve_ir.program.assembly import assemble
from zeroserve_ir.sources import Span

BAD = sorted((Path(__file__).parent / "bad").glob("*.bpf"))
GOOD = sorted((Path(__file__).parent / "good").glob("*.bpf"))
LIMIT_RULES = {Rule.PROGRAM_SIZE, Rule.COMPLEXITY}
FRAME_PLACES = abi.FRAME_BYTES // 8


def read_sections(path):
    sections, name = {}, None
    for line in path.read_text().splitlines():
        if line.startswith("-- "):
            name = line[3:]
            sections[name] = ""
        else:
            sections[name] += line + "\n"
    return sections


def judge(path):
    sections = read_sections(path)
    return verify(assemble(sections["asm"]).code, int(sections.get("constants", 0)))


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_bad_program_is_refused_by_its_rule_at_its_instruction(path):
    rule, slot = read_sections(path)["refused"].split()
    verdict = judge(path)
    assert isinstance(verdict, Refused)
    assert [(each.rule.name, each.slot) for each in verdict.refusals] == [(rule, int(slot))]


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_good_program_is_accepted(path):
    verdict = judge(path)
    assert isinstance(verdict, Verified), verdict


def test_every_rule_has_a_bad_program():
    covered = {read_sections(path)["refused"].split()[0] for path in BAD}
    assert {rule.name for rule in Rule} - covered == {rule.name for rule in LIMIT_RULES}
    assert len(BAD) >= 60


def test_longest_program_is_accepted_and_one_more_slot_is_refused():
    longest = "mov %r0, 0\n" * (abi.INSTRUCTIONS_MAX - 1) + "exit"
    assert isinstance(verify(assemble(longest).code, 0), Verified)
    verdict = verify(assemble("mov %r0, 0\n" + longest).code, 0)
    assert isinstance(verdict, Refused)
    assert [each.rule for each in verdict.refusals] == [Rule.PROGRAM_SIZE]


def hand_on_around_a_loop(branches):
    """Each round one more place of the frame is not known, and each branch is visited again."""
    lines = [f"stdw [%r10-{8 * place}], 1" for place in range(1, FRAME_PLACES + 1)]
    head = len(lines)
    for place in range(FRAME_PLACES, 1, -1):
        lines += [f"ldxdw %r1, [%r10-{8 * (place - 1)}]", f"stxdw [%r10-{8 * place}], %r1"]
    lines += ["stxdw [%r10-8], %r2", *["jeq %r2, 1, +0"] * branches]
    return "\n".join([*lines, f"jne %r2, 7, -{len(lines) - head + 1}", "mov %r0, 0", "exit"])


def test_program_whose_values_take_many_rounds_to_settle_is_refused():
    verdict = verify(assemble(hand_on_around_a_loop(3800)).code, 0)
    assert isinstance(verdict, Refused)
    assert [each.rule for each in verdict.refusals] == [Rule.COMPLEXITY]
    assert diagnose(verdict.refusals)[0].code is Code.ZS0601


def test_small_program_may_take_as_many_rounds_as_its_values_need():
    assert isinstance(verify(assemble(hand_on_around_a_loop(100)).code, 0), Verified)


def test_largest_constants_are_accepted():
    assert isinstance(verify(assemble("mov %r0, 0\nexit").code, abi.CONSTANTS_BYTES_MAX), Verified)


def test_all_refusals_of_a_stage_are_reported():
    code = assemble("mov %r0, %r3\nldxb %r4, [%r10]\nmov %r0, %r9\nexit").code
    verdict = verify(code, 0)
    assert isinstance(verdict, Refused)
    assert [(each.rule, each.slot) for each in verdict.refusals] == [
        (Rule.UNINITIALISED_REGISTER, 0),
        (Rule.STACK_BOUNDS, 1),
        (Rule.UNINITIALISED_REGISTER, 2),
    ]


def test_diagnostic_names_code_instruction_place_and_cure():
    verdict = verify(assemble("mov %r0, 0\nldxb %r0, [%r10+8]\nexit").code, 0)
    assert isinstance(verdict, Refused)
    span = Span("Caddyfile", 3, 5, 9)
    (diagnostic,) = diagnose(verdict.refusals, [(0, Span("Caddyfile", 1, 1, 2)), (1, span)])
    assert diagnostic.code is Code.ZS0601
    assert diagnostic.span == span
    assert "instruction 1" in diagnostic.message
    assert "r10+8" in diagnostic.message
    assert diagnostic.help == "stay in r10-512 to r10"


def test_diagnostic_of_a_node_names_the_place_as_text():
    verdict = verify(assemble("exit").code, 0)
    assert isinstance(verdict, Refused)
    (diagnostic,) = diagnose(verdict.refusals, [(0, "default/shop (Ingress) spec.rules[0]")])
    assert "default/shop (Ingress) spec.rules[0]" in diagnostic.render_short()


def test_size_has_a_code_of_its_own():
    verdict = verify(assemble("exit").code, abi.CONSTANTS_BYTES_MAX + 1)
    assert isinstance(verdict, Refused)
    assert diagnose(verdict.refusals)[0].code is Code.ZS0602
