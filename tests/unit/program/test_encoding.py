"""Instructions, bytes and text say the same thing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zeroserve_ir.program import isa
from zeroserve_ir.program.assembling import Assembler, AssemblyError
from zeroserve_ir.program.assembly import AssemblyTextError, assemble
from zeroserve_ir.program.disassembling import disassemble
from zeroserve_ir.program.encoding import MalformedError, decode, encode, scan
from zeroserve_ir.program.isa import R0, R1, R2, R6

REGISTERS = st.sampled_from(list(isa.Register))
OFFSETS = st.integers(-(1 << 15), (1 << 15) - 1)
NUMBERS = st.integers(-(1 << 31), (1 << 31) - 1)
OPERANDS = REGISTERS | NUMBERS
BITS = st.sampled_from((32, 64))
INSTRUCTIONS = st.one_of(
    st.builds(isa.Binary, st.sampled_from(list(isa.Operator)), BITS, REGISTERS, OPERANDS),
    st.builds(isa.Negate, BITS, REGISTERS),
    st.builds(isa.SignExtend, st.just(64), REGISTERS, REGISTERS, st.sampled_from((8, 16, 32))),
    st.builds(isa.SignExtend, st.just(32), REGISTERS, REGISTERS, st.sampled_from((8, 16))),
    st.builds(isa.SwapBytes, st.sampled_from(list(isa.ByteOrder)), st.sampled_from((16, 32, 64)), REGISTERS),
    st.builds(isa.LoadImmediate, REGISTERS, st.integers(0, (1 << 64) - 1)),
    st.builds(isa.LoadConstants, REGISTERS, st.integers(0, (1 << 31) - 1)),
    st.builds(isa.Load, st.sampled_from((1, 2, 4)), st.booleans(), REGISTERS, REGISTERS, OFFSETS),
    st.builds(isa.Load, st.just(8), st.just(False), REGISTERS, REGISTERS, OFFSETS),
    st.builds(isa.Store, st.sampled_from((1, 2, 4, 8)), REGISTERS, OFFSETS, OPERANDS),
    st.builds(
        isa.Atomic,
        st.sampled_from([operator for operator in isa.AtomicOperator if operator.value[2]]),
        st.sampled_from((4, 8)),
        REGISTERS,
        OFFSETS,
        REGISTERS,
        st.booleans(),
    ),
    st.builds(
        isa.Atomic,
        st.sampled_from((isa.AtomicOperator.XCHG, isa.AtomicOperator.CMPXCHG)),
        st.sampled_from((4, 8)),
        REGISTERS,
        OFFSETS,
        REGISTERS,
        st.just(True),
    ),
    st.builds(isa.Jump, OFFSETS, st.just(False)),
    st.builds(isa.Jump, NUMBERS, st.just(True)),
    st.builds(isa.Branch, st.sampled_from(list(isa.Condition)), BITS, REGISTERS, OPERANDS, OFFSETS),
    st.builds(isa.CallHelper, NUMBERS),
    st.builds(isa.CallLocal, NUMBERS),
    st.just(isa.Exit()),
)
NEARLY_WIDE = st.builds(
    lambda first, second: b"\x18" + first + b"\0" + second,
    st.binary(min_size=7, max_size=7),
    st.binary(min_size=7, max_size=7),
)
"""Two slots that begin as a 64-bit load, most of them malformed in another field."""


@settings(max_examples=1000)
@given(INSTRUCTIONS)
def test_decode_reads_what_encode_writes(instruction):
    code = encode(instruction)
    slots = decode(code)
    assert slots[0] == instruction
    assert len(slots) == isa.count_slots(instruction) == len(code) // isa.SLOT_BYTES


@settings(max_examples=1000)
@given(st.binary(min_size=8, max_size=8))
def test_encode_writes_what_decode_reads(slot):
    (first, *_) = scan(slot)
    if not isinstance(first, isa.Malformed):
        assert encode(first) == slot


@settings(max_examples=500)
@given(st.lists(INSTRUCTIONS, max_size=12))
def test_assembler_reads_what_disassembler_writes(instructions):
    code = b"".join(map(encode, instructions))
    assert assemble(disassemble(code)).code == code


@settings(max_examples=500)
@given(st.lists(st.binary(min_size=8, max_size=8) | NEARLY_WIDE, max_size=12).map(b"".join))
def test_malformed_code_survives_the_round_trip(code):
    assert assemble(disassemble(code)).code == code


@given(st.binary(max_size=100))
def test_any_bytes_are_scanned_slot_by_slot(code):
    assert len(scan(code)) == max(1, -(-len(code) // isa.SLOT_BYTES))


@given(st.text(max_size=60) | st.from_regex(r"(mov|ldxw|jeq|lock|call|st?) %r[0-9]+, [\[%r+0-9\]a-z-]*"))
def test_any_text_is_assembled_or_refused_with_its_line(text):
    try:
        assemble(text)
    except AssemblyTextError as error:
        assert 1 <= error.line <= text.count("\n") + 1


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("mov %r0, 1\nmove %r0, 1", 2, "unknown instruction move"),
        ("MOV %r0, 1", 1, "unknown instruction MOV: names are in lower case"),
        ("mov %r11, 1", 1, "not a register: %r11: they are %r0 to %r10"),
        ("mov %r0, %r11", 1, "neither a register nor a number: %r11: registers are %r0 to %r10"),
        ("mov %r0, 1 // one", 1, "neither a register nor a number: 1 // one: comments begin with #"),
        ("call -2147483649", 1, "immediate -2147483649 does not fit into 32 bits"),
        ("mov %r0", 1, "mov takes 2 operands, not 1"),
        ("exit\nmov %r0 5", 2, "mov takes 2 operands, not 1: write commas between them"),
        ("jeq %r0 0, 1", 1, "jeq takes 3 operands, not 2: write commas between them"),
        ("\ufeffmov %r0, 5\nexit", 1, "byte order mark: save the file as UTF-8 without one"),
        ("mov %r0, 4294967296", 1, "4294967296 does not fit into 32 bits"),
        ("mov %r0, 4294967295", 1, "4294967295 does not fit into 32 bits"),
        ("mov %r0, " + "9" * 6000, 1, "does not fit into 64 bits"),
        ("ldxb %r0, [%r1+" + "9" * 6000 + "]", 1, "does not fit into 64 bits"),
        ("movsx3232 %r0, %r1", 1, "unknown instruction movsx3232"),
        ("\nja nowhere", 2, "label nowhere is not defined"),
        ("a:\na:", 2, "label a is defined twice"),
        ("call no_such_helper", 1, "unknown helper no_such_helper"),
        ("ldxw %r0, %r1", 1, "not a memory operand: %r1"),
        ("ldxw %r0, [%r1+70000]", 1, "offset 70000 does not fit into 16 bits"),
        (".constants 0", 1, "0 is no hex"),
        (".constant 00", 1, "unknown instruction .constant"),
        ("lock nand [%r1], %r2", 1, "not an atomic operation"),
    ],
)
def test_assembly_error_names_line_and_fault(text, line, message):
    with pytest.raises(AssemblyTextError) as caught:
        assemble(text)
    assert caught.value.line == line
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("\tmov\t%r0,\t1", "mov %r0, 1"),
        ("lock\tfetch add\t[%r1+8], %r2", "lock fetch add [%r1+8], %r2"),
        ("mov %r0, 0xffffffff", "mov %r0, -1"),
        ("call helper 64", "call 64"),
        ("call helper %r2", "call %r2"),
        ("call helper read_time", "call read_time"),
    ],
)
def test_forms_of_the_public_syntax_are_read(text, same):
    assert assemble(text).code == assemble(same).code


def test_builder_resolves_labels_and_names():
    assembler = Assembler()
    assembler.mov(R6, R1)
    assembler.load_constants(R2, 8)
    assembler.load(R0, R6, 20, 4)
    assembler.jump_if("jgt", R0, R2, "out")
    assert assembler.position == 5
    assembler.call("match_path")
    assembler.load_immediate(R0, 1 << 40)
    assembler.label("out")
    assembler.exit()
    assert disassemble(assembler.finish()) == (
        "    mov %r6, %r1\n"
        "    lddw %r2, constants+8\n"
        "    ldxw %r0, [%r6+20]\n"
        "    jgt %r0, %r2, L8\n"
        "    call match_path\n"
        "    lddw %r0, 0x10000000000\n"
        "L8:\n"
        "    exit\n"
    )


def test_far_jump_takes_the_long_form_and_far_branch_is_refused():
    assembler = Assembler()
    assembler.jump("end")
    assembler.jump_if("jeq", R0, 0, "end")
    for _ in range(40000):
        assembler.exit()
    assembler.label("end")
    assembler.exit()
    with pytest.raises(AssemblyError, match="slot 1"):
        assembler.finish()
    assembler = Assembler()
    assembler.jump("end")
    for _ in range(40000):
        assembler.exit()
    assembler.label("end")
    assembler.exit()
    assert decode(assembler.finish())[0] == isa.Jump(40000, long=True)


def test_decode_names_the_slot_at_fault():
    with pytest.raises(MalformedError) as caught:
        decode(encode(isa.Exit()) + bytes(8))
    assert caught.value.slot == 1


def test_lines_of_assembly_are_kept():
    assert assemble("# nothing\nmov %r0, 0\n\nlddw %r1, 5\nexit").lines == ((0, 2), (1, 4), (3, 5))
