"""Bad plugins: the verifier names the instruction, the author's line (marked here) and the cure."""

import re

import pytest
from zeroserve_dataplane.verifier import Refused, verify
from zeroserve_dataplane.verifier.refusals import diagnose
from zeroserve_ir.plugins.loading import load
from zeroserve_ir.sources import Span

PRELUDE = "#include <zeroserve.h>\n#define ASM __asm__ volatile\n"
FUNCTION = "ZS_FUNCTION u64 f(struct zs_context *context) {\n"
BAD = {
    "null": ("  return *(volatile u64 *)0; // here\n}", "not mapped"),
    "below the context": ("  return *(volatile u64 *)4096; // here\n}", "not mapped"),
    "beyond the heap": ("  *(volatile u64 *)0x40000 = 1; // here\n  return 0;\n}", "not mapped"),
    "a kernel's address": ("  return *(volatile u8 *)0xffffffff81000000; // here\n}", "not mapped"),
    "before the context": ("  return ((volatile u32 *)context)[-1]; // here\n}", "context"),
    "past the context": ("  return ((volatile u32 *)context)[16384]; // here\n}", "context"),
    "below the stack": ('  ASM("r1 = *(u64 *)(r10 - 520)" ::: "r1"); // here\n  return 0;\n}', "stack"),
    "above the stack": ('  ASM("r1 = *(u64 *)(r10 + 8)" ::: "r1"); // here\n  return 0;\n}', "stack"),
    "the frame pointer written": ('  ASM("r10 = 1"); // here\n  return 0;\n}', "r10"),
    "a register not written": ('  ASM("r0 = r9\\nexit"); // here\n  return 0;\n}', "before"),
    "an unknown helper": ('  ASM("call 200"); // here\n  return 0;\n}', "helper"),
    "a call through a register": (
        "  u64 (*go)(u64) = (void *)(u64)context->status;\n  return go(1); // here\n}",
        "register",
    ),
    "room past the stack": (
        '  u8 small[8];\n  zs_read_query(ZS("a"), small, 1024); // here\n  return small[0];\n}',
        "bounds|leave",
    ),
    "room of a huge length": ("  zs_fill_random(context, 1ULL << 40); // here\n  return 0;\n}", "leave"),
    "text of a negative length": ("  return zs_log_message(context, -8); // here\n}", "leave"),
    "a misaligned atomic": (
        '  ASM("r1 = 1\\nlock *(u64 *)(r10 - 12) += r1" ::: "r1"); // here\n  return 0;\n}',
        "aligned",
    ),
    "an endless function": ("  for (;;) // here\n    ;\n}", None),
    "a jump out of the function": ('  ASM("goto +900"); // here\n  return 0;\n}', "target"),
    "stack of nine frames": (
        "  return a1(context->status); // here\n}",
        "deep|depth|levels",
    ),
    "recursion": ("  return down(context->status); // here\n}", "circle"),
}
EXTRA = {
    "stack of nine frames": "".join(
        f"static __attribute__((noinline)) u64 a{n}(u64 x) {{ volatile u64 y = x; return "
        f"{f'a{n + 1}(y + 1)' if n < 9 else 'y'} + 1; }}\n"
        for n in range(9, 0, -1)
    ),
    "recursion": "static __attribute__((noinline)) u64 down(u64 n) {\n"
    "  return n < 2 ? 1 : down(n - 1) + down(n - 2);\n}\n",
}


@pytest.fixture
def judge(compile_text):
    def run(text):
        module = load(compile_text(text))
        lines = [(each.slot, Span(each.file, each.line, 1, 1)) for each in module.lines]
        verdict = verify(module.code, 0)
        return diagnose(verdict.refusals, lines) if isinstance(verdict, Refused) else ()

    return run


@pytest.mark.parametrize("name", sorted(BAD))
def test_the_refusal_names_instruction_line_and_cure(judge, name):
    body, said = BAD[name]
    text = PRELUDE + EXTRA.get(name, "") + FUNCTION + body
    findings = judge(text)
    if said is None:
        assert findings == (), "it ends by its fuel"
        return
    finding = findings[0]
    assert finding.code.name == "ZS0601"
    assert re.search(r"instruction \d+", finding.message)
    assert re.search(said, finding.message), finding.message
    assert finding.help
    written = text.split("\n")[finding.span.line - 1]
    assert "// here" in written or name in EXTRA, (finding.span.line, written)
    assert finding.span.file.endswith("plugin.c")
