"""ELF files of real compilers become programs; what is no plugin is refused with its cure."""

import struct

import pytest
from fuzzing.attacks import EXIT
from fuzzing.plugin_files import PROGBITS, File, Part, symbol
from zeroserve_dataplane.interpreter import Interpreter, Memory
from zeroserve_dataplane.verifier import Verified, verify
from zeroserve_ir.plugins.faults import Fault, PluginError
from zeroserve_ir.plugins.loading import load
from zeroserve_ir.plugins.modules import FUNCTIONS_MAX, Hook
from zeroserve_ir.program import abi

PRELUDE = """
typedef unsigned long long u64; typedef unsigned char u8;
#define FUNCTION __attribute__((section("function"), used))
#define REQUEST __attribute__((section("request"), used))
#define RESPONSE __attribute__((section("response"), used))
#define NOINLINE __attribute__((noinline))
"""
SUMS = (
    PRELUDE
    + """
static const char digits[] = "0123456789";
static const char *const names[] = {"one", "two", "three"};
static u64 calls;
u64 step = 3;
static NOINLINE u64 length(const char *text) { u64 n = 0; while (text[n]) n++; return n; }
NOINLINE u64 unused_by_all(u64 x) { return x * 3; }
FUNCTION u64 third(u64 *context) { return digits[3 + (*context >> 63)]; }
FUNCTION u64 count(void *context) { calls += step; return calls; }
FUNCTION u64 lengths(void *context) {
  u64 sum = 0;
  for (int i = 0; i < 3; i++) sum = sum * 10 + length(names[i]);
  return sum;
}
FUNCTION u64 on_stack(void *context) {
  char text[16] = "12345678";
  __asm__ volatile("" ::: "memory");
  return length(text);
}
"""
)


def run(module, name):
    verified = verify(module.code, 0)
    assert isinstance(verified, Verified), verified
    return execute(verified, module, module.find(name).entry)


def execute(verified, module, entry):
    memory = Memory()
    memory.write(abi.HEAP, module.data)
    outcome = Interpreter(verified, memory, helpers=None).run(entry)
    assert outcome.trap is None, outcome.found
    return outcome.result


@pytest.fixture
def sums(compile_text):
    return load(compile_text(SUMS))


@pytest.mark.parametrize(
    ("name", "result"), [("third", ord("3")), ("count", 3), ("lengths", 335), ("on_stack", 8)]
)
def test_functions_compute(sums, name, result):
    assert run(sums, name) == result


def test_unknown_entry_is_an_error(sums):
    verified = verify(sums.code, 0)
    assert execute(verified, sums, 99) == abi.encode_action(abi.Action.ERROR, detail=500)


def test_entries_count_from_one_in_the_order_of_the_file(sums):
    assert [(each.name, each.entry) for each in sums.functions] == [
        ("third", 1),
        ("count", 2),
        ("lengths", 3),
        ("on_stack", 4),
    ]


def test_what_no_export_reaches_is_left_out(compile_text):
    small = load(compile_text(PRELUDE + "FUNCTION u64 f(void *c) { return 1; }"))
    extra = "NOINLINE u64 g(u64 x) { return x * x; } const char text[999] = {1};"
    assert load(compile_text(PRELUDE + extra + "FUNCTION u64 f(void *c) { return 1; }")).code == small.code
    assert small.data == b""


def test_sections_are_hooks(compile_text):
    module = load(
        compile_text(
            PRELUDE
            + "FUNCTION u64 f(void *c) { return 1; } REQUEST u64 q(void *c) { return 2; }"
            + "RESPONSE u64 r(void *c) { return 3; }"
        )
    )
    assert {each.name: each.hook for each in module.functions} == {
        "f": Hook.FUNCTION,
        "q": Hook.REQUEST,
        "r": Hook.RESPONSE,
    }


def test_instructions_know_their_lines(compile_text):
    text = PRELUDE + "extern u64 x;\nu64 x;\nFUNCTION u64 f(void *c) {\n  return x + 5;\n}\n"
    module = load(compile_text(text))
    expected = text.split("\n").index("  return x + 5;") + 1
    assert expected in {each.line for each in module.lines}
    assert all(each.file.endswith("plugin.c") for each in module.lines)


def test_data_begins_the_heap_and_zeros_follow(sums):
    assert b"0123456789\0" in sums.data
    assert struct.pack("<Q", 3) in sums.data
    assert sums.bss_bytes >= 8


def test_functions_without_a_result_verify(compile_text):
    text = PRELUDE + "static u64 x; static NOINLINE void g(u64 n) { x += n; }"
    module = load(compile_text(text + "FUNCTION u64 f(u64 *c) { g(4); g(*c); return x; }"))
    assert run(module, "f") == 4


REFUSED = {
    "u64 f(void *c) { return 1; }": Fault.NO_FUNCTIONS,
    "extern u64 g(u64); FUNCTION u64 f(void *c) { return g(1); }": Fault.UNDEFINED_SYMBOL,
    "extern u64 x; FUNCTION u64 f(void *c) { return x; }": Fault.UNDEFINED_SYMBOL,
    "u64 g(u64 x) { return x; } u64 (*p)(u64) = g; FUNCTION u64 f(void *c) { return p(1); }": (
        Fault.FUNCTION_POINTER
    ),
    "FUNCTION u64 f(void *c) { return ((u64 (*)(u64))1)(0); }": Fault.ROUTE_HELPER,
    "u8 big[70000]; FUNCTION u64 f(void *c) { return big[(u64)c & 65535]; }": Fault.HEAP_SIZE,
    "u8 a[40000], b[40000] = {1}; FUNCTION u64 f(void *c) { u64 i = (u64)c & 32767; return a[i] + b[i]; }": (
        Fault.HEAP_SIZE
    ),
    "".join(f"FUNCTION u64 f{i}(void *c) {{ return {i}; }}\n" for i in range(FUNCTIONS_MAX + 1)): (
        Fault.TOO_MANY_FUNCTIONS
    ),
    "FUNCTION u64 " + "f" * 64 + "(void *c) { return 1; }": Fault.FUNCTION_NAME,
    'FUNCTION u64 f(void *c) { __asm__ volatile(".rept 4200\\nr0 = 1\\n.endr"); return 1; }': Fault.CODE_SIZE,
}


@pytest.mark.parametrize(("text", "fault"), REFUSED.items(), ids=[fault.name for fault in REFUSED.values()])
def test_refused(compile_text, text, fault):
    with pytest.raises(PluginError) as caught:
        load(compile_text(PRELUDE + text))
    assert caught.value.fault is fault


def test_refusal_names_the_function(compile_text):
    text = PRELUDE + "extern u64 missing(u64); FUNCTION u64 sign(void *c) { return missing(1); }"
    with pytest.raises(PluginError, match="'missing' in 'sign'"):
        load(compile_text(text))


def test_most_functions_are_dispatched(compile_text):
    text = PRELUDE + "".join(f"FUNCTION u64 f{i}(void *c) {{ return {i}; }}\n" for i in range(FUNCTIONS_MAX))
    module = load(compile_text(text))
    assert run(module, f"f{FUNCTIONS_MAX - 1}") == FUNCTIONS_MAX - 1


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", Fault.NOT_ELF),
        (b"#!/bin/sh\n", Fault.NOT_ELF),
        (b"\x7fELF", Fault.NOT_ELF),
        (bytes(2 << 20), Fault.FILE_SIZE),
    ],
)
def test_no_object_at_all(content, fault):
    with pytest.raises(PluginError) as caught:
        load(content)
    assert caught.value.fault is fault


def test_sections_that_share_their_bytes_are_refused_before_they_are_copied():
    file = File(EXIT, extra=[Part(".pad", PROGBITS, 0, bytes(900_000))])
    file.extra += [Part("again", PROGBITS, 0, said={"offset": 64, "size": 900_000})] * 400
    with pytest.raises(PluginError) as caught:
        load(file.write())
    assert caught.value.fault is Fault.SECTION_BOUNDS
    assert "bytes of sections in a file of" in caught.value.found


def test_names_that_overlap_are_read_for_so_many_bytes_and_no_more():
    file = File(EXIT, symbols=[symbol(1, 0x12, 1, 0, 8), *[symbol(60, 0x10, 0, 0, 0)] * 8000])
    file.said = {"parts": {5: {"offset": 64, "size": 10}}}
    file.data = b"n" * 600_000
    with pytest.raises(PluginError) as caught:
        load(file.write())
    assert caught.value.fault is Fault.TOO_MANY_PARTS


def test_another_machine_is_named(compile_text):
    content = bytearray(compile_text(SUMS))
    content[18:20] = (62).to_bytes(2, "little")
    with pytest.raises(PluginError, match="EM_X86_64") as caught:
        load(bytes(content))
    assert caught.value.fault is Fault.WRONG_MACHINE
