"""Machine code leaves the compiler only where nothing is left to link."""

import llvmlite.binding as llvm
import pytest
from zeroserve_dataplane.jit.emitting import emit
from zeroserve_dataplane.jit.extracting import EmissionError, extract
from zeroserve_dataplane.jit.targets import Target, Tier

RUN = "define i64 @run(i64 %a) nounwind { ret i64 7 }"


def emit_object(target):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(target.machine.triple).create_target_machine(codemodel="small")
    return machine.emit_object(llvm.parse_assembly(RUN))


@pytest.mark.parametrize("target", Target)
def test_entry_is_where_run_starts(target):
    before = "define i64 @before(i64 %a) nounwind { %b = mul i64 %a, %a ret i64 %b }"
    alone, behind = emit(RUN, target, Tier.FAST), emit(f"{before}\n{RUN}", target, Tier.FAST)
    assert alone.entry == 0
    assert behind.entry > 0
    assert behind.text[behind.entry :] == alone.text


@pytest.mark.parametrize(
    ("module", "found"),
    [
        (
            "define i64 @run() nounwind { %a = call i64 @other() ret i64 %a } declare i64 @other()",
            "relocations in .text",
        ),
        ('@a = constant [9 x i8] c"constants" define i64 @run() nounwind { ret i64 7 }', "beside .text"),
        ("@a = global [9 x i8] zeroinitializer define i64 @run() nounwind { ret i64 7 }", "beside .text"),
        (
            "@a = global ptr null define i64 @run() nounwind { ret i64 ptrtoint (ptr @a to i64) }",
            "relocations in .text",
        ),
        ('define i64 @run() nounwind section ".other" { ret i64 7 }', "section .other"),
        ("define i64 @other() nounwind { ret i64 7 }", "0 symbols run"),
    ],
)
@pytest.mark.parametrize("target", Target)
def test_code_that_needs_more_than_itself_is_a_defect(target, module, found):
    with pytest.raises(EmissionError, match=found):
        emit(module, target, Tier.FAST)


def test_undefined_symbol_is_a_defect():
    entry = b"\x12\0\x02\0"  # global, a function, of section 2
    content = emit_object(Target.X86_64)
    assert content.count(entry) == 1
    with pytest.raises(EmissionError, match="undefined symbols run"):
        extract(content.replace(entry, b"\x12\0\0\0"), Target.X86_64)


def test_code_of_another_machine_is_a_defect():
    content = emit_object(Target.AARCH64)
    with pytest.raises(EmissionError, match="machine 183"):
        extract(content, Target.X86_64)


def test_object_that_is_cut_short_is_a_defect():
    content = emit_object(Target.AARCH64)
    for length in range(0, len(content), 7):
        with pytest.raises(EmissionError):
            extract(content[:length], Target.AARCH64)
