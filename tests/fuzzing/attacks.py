"""A grammar of attacks: programs that want out of the sandbox, to stay in it for ever, or to learn secrets.

In: a seed. Out: code, constants and the kind of attack. Nothing here knows how code is carried: as a route
program, or as what a plugin's ELF holds.
"""

from dataclasses import dataclass
from random import Random

from zeroserve_ir.program import abi

CONSTANTS_BYTES = 64
_AREAS = (
    abi.CONTEXT,
    abi.CONTEXT + abi.CONTEXT_BYTES,
    abi.STACK,
    abi.STACK_TOP,
    abi.HEAP,
    abi.HEAP + abi.HEAP_BYTES,
    abi.CONSTANTS,
    abi.WINDOW_BYTES,
    0,
)
_NATIVE = (
    0x5555_5555_4000,
    0x7FFF_F7DD_0000,
    0x7FFF_FFFF_E000,
    0x200_0000_0000,
    0xFFFF_FFFF_FF60_0000,
    1 << 63,
)
_LOADS, _STORES, _ATOMICS = (0x71, 0x69, 0x61, 0x79), (0x73, 0x6B, 0x63, 0x7B), (0xC3, 0xDB)
_ATOMIC_OPERATIONS = (0x00, 0x01, 0x40, 0x41, 0x50, 0x51, 0xA0, 0xA1, 0xE1, 0xF1, 0x10, 0xFF)
_JUMPS = (0x15, 0x1D, 0x25, 0x2D, 0x35, 0x45, 0x55, 0x5D, 0x65, 0x75, 0xA5, 0xB5, 0xC5, 0xD5, 0x16, 0x56)
_HELPERS = (*abi.BY_NUMBER, 0, 23, 63, 255, 1 << 20, -1)


@dataclass(frozen=True)
class Attack:
    """What is tried, by which program."""

    kind: str
    code: bytes
    constants: bytes


def encode(opcode, destination=0, source=0, offset=0, immediate=0):
    """One slot, whether or not there is such an instruction (RFC 9669, section 3)."""
    immediate &= (1 << 32) - 1
    return (
        bytes((opcode, destination | source << 4))
        + (offset & 0xFFFF).to_bytes(2, "little")
        + immediate.to_bytes(4, "little")
    )


EXIT = encode(0x95)


def mov(register, immediate):
    """`mov64 register, immediate`."""
    return encode(0xB7, register, immediate=immediate)


def copy(destination, source):
    """`mov64 destination, source`."""
    return encode(0xBF, destination, source)


def load_number(register, number, source=0):
    """`lddw`; sources other than 0 mean addresses of maps, code and variables."""
    number &= (1 << 64) - 1
    return encode(0x18, register, source, immediate=number) + encode(0, immediate=number >> 32)


def call(number, source=0):
    """`call`: a helper by number, or with source 1 a subprogram by distance."""
    return encode(0x85, 0, source, immediate=number)


def generate_attack(seed):
    """Return the attack of a seed; the kinds take turns."""
    random = Random(seed)
    kind = sorted(ATTACKS)[seed % len(ATTACKS)]
    body = ATTACKS[kind](random)
    # What was learnt is put where the outcome shows it.
    reveal = encode(0x7B, 6, 0, random.randrange(0, 64, 8)) if random.random() < 0.7 else b""
    code = copy(6, 1) + mov(0, 0) + body + reveal + EXIT
    return Attack(kind, code, random.randbytes(CONSTANTS_BYTES))


def _number(random):
    near = random.choice((*_AREAS, *_NATIVE)) + random.choice((-8, -1, 0, 1, 4, 7, 8, 4096))
    return random.choice((near, near | random.getrandbits(31) << 32, random.getrandbits(64)))


def _offset(random):
    return random.choice((0, -1, 1, -8, 8, 511, -512, -513, 32767, -32768, random.randint(-32768, 32767)))


def _unknown(random, register):
    """A number that the verifier knows nothing of."""
    return encode(0x79, register, 6, random.randrange(0, 248, 8))


def _pointer(random, register):
    """Something to read or write by."""
    base = random.choice((6, 10))
    return random.choice(
        (
            load_number(register, _number(random)),
            copy(register, base) + encode(0x07, register, immediate=random.getrandbits(31)),
            copy(register, base) + _unknown(random, 5) + encode(0x0F, register, 5),
            _unknown(random, register),
            load_number(register, random.choice((0, 8, CONSTANTS_BYTES - 1, 1 << 20, -8)), source=6),
            load_number(register, 0, source=6) + _unknown(random, 5) + encode(0x0F, register, 5),
            load_number(register, 0, source=6)
            + _unknown(random, 5)
            + encode(0x57, 5, immediate=random.choice((7, 63, 127, -1)))
            + encode(0x0F, register, 5),
        )
    )


def _touch(random, base, value=0):
    kind = random.random()
    if kind < 0.5:
        return encode(random.choice(_LOADS), value, base, _offset(random))
    return encode(random.choice(_STORES), base, value, _offset(random))


def _out_of_bounds(random):
    return b"".join(_pointer(random, 3) + _touch(random, 3) for _ in range(random.randint(1, 4)))


def _forged_pointers(random):
    spoil = random.choice(
        (
            encode(0x67, 3, immediate=random.choice((1, 31, 32, 63))) + encode(0x77, 3, immediate=32),
            encode(0x0F, 3, 10) + encode(0x0F, 3, 6),
            encode(0x1F, 3, 10),
            encode(0xAF, 3, 6),
            encode(0x27, 3, immediate=-1),
            encode(0xDC, 3, immediate=64),
            encode(0x7B, 10, 3, -8) + encode(0x63, 10, 6, -8) + encode(0x79, 3, 10, -8),
            encode(0x7B, 10, 3, -8) + encode(0x79, 3, 10, -4),
            encode(0xB4, 3, immediate=-1),
        )
    )
    return _pointer(random, 3) + spoil + _touch(random, 3)


def _endless_loops(random):
    kind = random.randrange(6)
    if kind == 0:
        return encode(0x05, offset=-1)
    if kind == 1:
        return encode(0x06, immediate=-1)
    if kind == 2:
        return encode(0x07, 0, immediate=1) + encode(random.choice(_JUMPS), 0, 0, -2, random.getrandbits(31))
    if kind == 3:
        inner = encode(0x07, 0, immediate=1) + encode(0x05, offset=-2)
        return inner + encode(0x05, offset=-3)
    helper = call(abi.BY_NAME["limit_request_body"].number)
    if kind == 4:
        return mov(1, 0) + helper + encode(0x05, offset=-3)
    # A loop around a call of a subprogram that loops.
    return call(2, 1) + encode(0x05, offset=-2) + EXIT + mov(0, 0) + encode(0x05, offset=-1)


def _deep_recursion(random):
    kind = random.randrange(4)
    if kind == 0:
        return call(-1, 1)
    if kind == 1:
        return call(1, 1) + EXIT + mov(0, 1) + call(-3, 1)
    depth = random.randint(2, 14)
    # Each subprogram calls the next, once or many times over: up to 8 ** 7 calls without a loop.
    times = 1 if kind == 2 else random.randint(2, 8)
    parts = []
    for _ in range(depth):
        parts.append(b"".join(call(times - number, 1) for number in range(times)) + EXIT)
    return b"".join(parts) + mov(0, 1)


def _helper_abuse(random):
    arguments = b""
    for register in random.sample((1, 2, 3, 4, 5), random.randint(0, 5)):
        length = mov(register, random.choice((0, 1, 64, 4096, -1, 1 << 30)))
        arguments += _pointer(random, register) if random.random() < 0.5 else length
    helper = call(random.choice(_HELPERS), random.choice((0, 0, 0, 0, 0, 2, 3)))
    return arguments + helper + (_touch(random, 0, 3) if random.random() < 0.3 else b"")


def _strings_of_helpers(random):
    """Lengths that run over the end of an area, places that overlap, names that end lines."""
    name = load_number(1, random.choice((0, 32, CONSTANTS_BYTES - 4)), source=6)
    place = copy(3, random.choice((6, 10))) + encode(
        0x07, 3, immediate=random.choice((-512, -8, 0, 8, 11000))
    )
    lengths = mov(2, random.choice((0, 4, 64, 65, 1 << 20))) + _unknown(random, 4)
    number = random.choice(("read_request_header", "write_request_header", "write_response_header"))
    return name + place + lengths + call(abi.BY_NAME[number].number)


def _unaligned_atomics(random):
    place = random.choice((copy(3, 10), copy(3, 6), _pointer(random, 3)))
    operation = random.choice(_ATOMIC_OPERATIONS)
    return place + mov(5, -1) + encode(random.choice(_ATOMICS), 3, 5, _offset(random), operation)


def _self_reference(random):
    kind = random.randrange(6)
    if kind == 0:
        return load_number(3, random.getrandbits(32), random.randrange(1, 16)) + _touch(random, 3)
    if kind == 1:
        return encode(0x05, offset=1) + load_number(3, int.from_bytes(EXIT, "little"))
    if kind == 2:
        return encode(0x8D, random.randrange(11)) + encode(0x85, 0, 1, 0, random.getrandbits(31))
    if kind == 3:
        return encode(0x05, offset=random.choice((-3, -2, 100, 32767, -32768)))
    if kind == 4:
        # Into another subprogram by a jump, and back.
        return call(2, 1) + encode(0x05, offset=2) + EXIT + mov(0, 1) + encode(0x05, offset=-4)
    return copy(10, 3) + encode(0x07, 10, immediate=-4096) + _touch(random, 10)


def _type_confusion(random):
    """A register that is a pointer to constants on one way and a number on the other."""
    confused = (
        _unknown(random, 4)
        + load_number(3, random.choice((0, 8)), source=6)
        + encode(random.choice(_JUMPS), 4, 0, 1, random.getrandbits(8))
        + copy(3, random.choice((6, 10, 4)))
    )
    use = random.choice(
        (
            _touch(random, 3),
            copy(0, 3),
            copy(1, 3) + call(random.choice(_HELPERS)),
            encode(0x7B, 10, 3, -16) + encode(0x79, 4, 10, -16) + _touch(random, 4),
            copy(1, 3) + call(1, 1) + EXIT + encode(0x79, 0, 1, 0),
        )
    )
    return confused + use


def _any_bytes(random):
    known = (
        *_LOADS,
        *_STORES,
        *_ATOMICS,
        *_JUMPS,
        0x05,
        0x07,
        0x0F,
        0x18,
        0x85,
        0xB7,
        0xBF,
        0xD4,
        0xDC,
        0x95,
    )
    slots = []
    for _ in range(random.randint(1, 12)):
        opcode = random.choice(known) if random.random() < 0.9 else random.randrange(256)
        offset = random.choice((0, 0, 1, 2, -1, -2, random.randint(-16, 16)))
        slots.append(
            encode(opcode, random.randrange(11), random.randrange(11), offset, random.choice((0, 1, 8, 64)))
        )
    return b"".join(slots)


ATTACKS = {
    "any bytes": _any_bytes,
    "deep recursion": _deep_recursion,
    "endless loops": _endless_loops,
    "forged pointers": _forged_pointers,
    "helper abuse": _helper_abuse,
    "out of bounds": _out_of_bounds,
    "self-reference": _self_reference,
    "strings of helpers": _strings_of_helpers,
    "type confusion": _type_confusion,
    "unaligned atomics": _unaligned_atomics,
}
