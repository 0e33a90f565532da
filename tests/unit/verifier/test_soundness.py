"""What the verifier says of values holds in every run, and no bytes make it fail."""

from hypothesis import given, settings
from hypothesis import strategies as st
from zeroserve_dataplane.verifier import Refused, Verified, verify
from zeroserve_dataplane.verifier.values import Region, Value, apply, join, widen
from zeroserve_ir.program.arithmetic import MASK_64, calculate, sign
from zeroserve_ir.program.encoding import encode
from zeroserve_ir.program.isa import Exit, Operator

SIGNED = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(-300, 300),
    st.integers(-2, 2).map(lambda near: sign((1 << 31) + near, 64)),
    st.integers(-2, 2).map(lambda near: (1 << 32) + near),
)


def _approach(slot):
    """Bring random bytes nearer to instructions: a known class, registers of r0 to r10, small numbers."""
    opcode = (0x07, 0x0F, 0xB7, 0xBF, 0x61, 0x79, 0x63, 0x7B, 0x05, 0x15, 0x1D, 0x85, 0x95, 0x18, 0x00)[
        slot[0] % 15
    ]
    registers = slot[1] % 11 | (slot[2] % 11 if opcode & 8 or opcode & 7 in {1, 3} else 0) << 4
    offset = bytes((slot[3] % 16, 0)) if opcode & 7 in {1, 3, 5} else b"\0\0"
    immediate = bytes((slot[4], 0, 0, 0)) if not opcode & 8 and opcode & 7 not in {1, 3} else bytes(4)
    return bytes((opcode, registers)) + offset + immediate


@st.composite
def members(draw):
    """An interval and a number in it."""
    low, high = sorted((draw(SIGNED), draw(SIGNED)))
    return Value(Region.NUMBER, low, high), draw(st.integers(low, high))


@settings(max_examples=2000)
@given(st.sampled_from(list(Operator)), st.sampled_from((32, 64)), members(), members())
def test_interval_of_a_result_holds_the_result(operator, bits, left, right):
    value = apply(operator, bits, left[0], right[0])
    result = sign(calculate(operator, bits, left[1] & MASK_64, right[1] & MASK_64), 64)
    assert value.region is Region.NUMBER
    assert value.low <= result <= value.high


@given(members(), members())
def test_join_and_widen_hold_both(left, right):
    for combined in (join(left[0], right[0]), widen(left[0], right[0])):
        assert combined.low <= min(left[1], right[1])
        assert max(left[1], right[1]) <= combined.high


@settings(max_examples=500)
@given(st.binary(max_size=400), st.integers(0, 64))
def test_any_bytes_are_judged(code, constants_bytes):
    assert isinstance(verify(code, constants_bytes), Verified | Refused)


@settings(max_examples=500)
@given(st.lists(st.binary(min_size=8, max_size=8).map(_approach), max_size=30))
def test_any_known_opcodes_are_judged(slots):
    code = b"".join(slots) + encode(Exit())
    assert isinstance(verify(code, 32), Verified | Refused)
