"""Programs without order: jumps from anywhere to anywhere, any register in any role, pointers on the move.

In: a source of numbers. Out: a program that the verifier accepts. Instructions are drawn one by one; what the
verifier refuses is replaced by a move of a number, until nothing is left to refuse. So what remains is the
strangest that it lets through: loops entered in their middle, pointers that are joined, spilled, overwritten
in part, subtracted, handed to subprograms, and code that nothing reaches.
"""

from unit.jit.engine_helpers import spell
from unit.jit.program_generation import CONSTANTS_BYTES, MEMORY_BYTES, Generated
from zeroserve_dataplane.verifier import Refused, Rule, verify
from zeroserve_ir.program import abi
from zeroserve_ir.program.encoding import encode
from zeroserve_ir.program.isa import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R10,
    Atomic,
    AtomicOperator,
    Binary,
    Branch,
    ByteOrder,
    CallHelper,
    CallLocal,
    Condition,
    Exit,
    Jump,
    Load,
    LoadConstants,
    LoadImmediate,
    Negate,
    Operator,
    Register,
    SignExtend,
    Store,
    SwapBytes,
)

_OPERATORS, _CONDITIONS, _ATOMICS = tuple(Operator), tuple(Condition), tuple(AtomicOperator)
_REGISTERS = tuple(register for register in Register if register is not R10)
_NUMBERS = (0, 1, -1, 2, 7, 8, 15, 31, 32, 33, 63, 64, 255, 256, -8, -512, 1 << 15, (1 << 31) - 1, -(1 << 31))
_WIDE = (
    *(place + near for place in (abi.CONTEXT, abi.STACK, abi.HEAP) for near in (0, 8, 64)),
    abi.STACK_TOP - 8,
    abi.STACK_TOP - 16,
    abi.STACK_TOP - 512,
    abi.CONSTANTS,
    abi.CONSTANTS + abi.CONTEXT,
    1 << 31,
    (1 << 31) - 1,
    (1 << 32) - 1,
    1 << 63,
    (1 << 63) - 1,
    (1 << 64) - 1,
)
_HELPERS = tuple(
    abi.BY_NAME[name]
    for name in (
        "limit_request_body",
        "log_message",
        "read_request_header",
        "write_request_header",
        "write_response_header",
    )
)
_LENGTHS = (4, 8, 12, 20, 40, 80)
_MIX = tuple(
    instruction
    for register in _REGISTERS[1:]
    for instruction in (Binary(Operator.MUL, 64, R0, 31), Binary(Operator.XOR, 64, R0, register))
)
"""What the main program ends with: all that its registers hold becomes part of what it returns."""
_SUBPROGRAMS_MAX = 3
_REPAIRS_MAX = 40


def generate(random):
    """Return a program; equal seeds give equal programs. None where replacing did not come to an end."""
    parts = [[*_draw_part(random, random.choice(_LENGTHS)), *_MIX, Exit()]]
    parts += [
        [*_draw_part(random, random.choice(_LENGTHS[:4])), _number(random, R0), Exit()]
        for _ in range(random.randrange(_SUBPROGRAMS_MAX + 1))
    ]
    slots = _link(random, parts)
    for _ in range(_REPAIRS_MAX):
        code = b"".join(encode(slot) for slot in slots if slot is not None)
        verdict = verify(code, CONSTANTS_BYTES)
        if not isinstance(verdict, Refused):
            constants, memory = spell(random.randbytes(CONSTANTS_BYTES)), _draw_memory(random)
            return Generated(code, constants, memory, random.choice((40, 400, 3000)))
        for refusal in verdict.refusals:
            _replace(random, slots, refusal)
    return None


def _draw_memory(random):
    """Bytes of the context: small numbers and addresses, so that what is loaded leads somewhere."""
    words = (random.choice((*_NUMBERS, *_WIDE)) & (1 << 64) - 1 for _ in range(MEMORY_BYTES // 8))
    return b"".join(
        random.randbytes(8) if random.random() < 0.3 else word.to_bytes(8, "little") for word in words
    )


def _draw_part(random, length):
    """Instructions, None for the second slot of a wide load; calls and jumps are not aimed yet."""
    part = []
    for register in _REGISTERS:
        if register is not R1:
            part += _draw_start(random, register)
    length += len(part)
    while len(part) < length:
        part += random.choice(_DRAWS)(random)
    return part


def _draw_start(random, register):
    """What a register begins with: r1 is the context, or what the caller has there."""
    choice = random.random()
    if choice < 0.2:
        return [Binary(Operator.MOV, 64, register, R1)]
    if choice < 0.35:
        return [Load(8, False, register, R1, random.randrange(MEMORY_BYTES - 8))]
    if choice < 0.55:
        return [
            Binary(Operator.MOV, 64, register, R10),
            Binary(Operator.ADD, 64, register, -8 * random.randrange(65)),
        ]
    if choice < 0.7:
        return _wide(LoadConstants(register, random.randrange(CONSTANTS_BYTES)))
    if choice < 0.85:
        return _wide(LoadImmediate(register, random.choice(_WIDE)))
    return [Binary(Operator.MOV, 64, register, random.choice(_NUMBERS))]


def _wide(load):
    return [load, None]


def _draw_register(random):
    return random.choice(_REGISTERS)


def _draw_operand(random):
    return random.choice((*_REGISTERS, R10)) if random.random() < 0.6 else random.choice(_NUMBERS)


def _draw_arithmetic(random):
    bits = random.choice((32, 64, 64))
    return [Binary(random.choice(_OPERATORS), bits, _draw_register(random), _draw_operand(random))]


def _draw_move(random):
    return [Binary(Operator.MOV, 64, _draw_register(random), random.choice((*_REGISTERS, R10)))]


def _draw_step(random):
    """A pointer that goes on by a little, or a number that is masked: what makes intervals."""
    register = _draw_register(random)
    if random.random() < 0.5:
        return [
            Binary(random.choice((Operator.ADD, Operator.SUB)), 64, register, random.choice(_NUMBERS[:13]))
        ]
    mask = Binary(Operator.AND, random.choice((32, 64)), register, random.choice((1, 7, 8, 31, 56, 63, 127)))
    return [mask, Binary(Operator.ADD, 64, _draw_register(random), register)]


def _draw_unary(random):
    register, bits = _draw_register(random), random.choice((32, 64))
    return [
        random.choice(
            (
                Negate(bits, register),
                SwapBytes(random.choice(tuple(ByteOrder)), random.choice((16, 32, 64)), register),
                SignExtend(bits, register, _draw_register(random), random.choice((8, 16, bits // 2))),
            )
        )
    ]


def _draw_wide(random):
    register = _draw_register(random)
    if random.random() < 0.5:
        return _wide(LoadConstants(register, random.randrange(CONSTANTS_BYTES)))
    return _wide(LoadImmediate(register, random.choice(_WIDE)))


def _draw_offset(random):
    return random.choice((0, 0, 0, 8, -8, 4, -4, -16, -512, 24, random.randint(-600, 600)))


def _draw_base(random):
    """r10 with a place of its frame, mostly one of the few that all use; or any register."""
    if random.random() < 0.4:
        return R10, random.choice((-8, -16, -24, -12, -4, -512, -508, -random.randint(1, 512)))
    return _draw_register(random), _draw_offset(random)


def _draw_load(random):
    base, offset = _draw_base(random)
    size = random.choice((1, 2, 4, 8, 8, 8))
    return [Load(size, size < 8 and random.random() < 0.4, _draw_register(random), base, offset)]


def _draw_store(random):
    base, offset = _draw_base(random)
    return [Store(random.choice((1, 2, 4, 8, 8, 8)), base, offset, _draw_operand(random))]


def _draw_atomic(random):
    base, offset = _draw_base(random)
    operator = random.choice(_ATOMICS)
    fetch = not operator.value[2] or random.random() < 0.5
    return [Atomic(operator, random.choice((4, 8)), base, offset, _draw_register(random), fetch)]


def _draw_branch(random):
    bits = random.choice((32, 64))
    return [Branch(random.choice(_CONDITIONS), bits, _draw_register(random), _draw_operand(random), 0)]


def _draw_jump(random):
    return [Jump(0, random.random() < 0.5)]


def _draw_index(random):
    """A number that is masked, added to an address, and followed."""
    register, pointer = random.sample(_REGISTERS, 2)
    start = random.choice(
        (
            _wide(LoadConstants(pointer, random.randrange(CONSTANTS_BYTES // 2))),
            _wide(LoadImmediate(pointer, random.choice(_WIDE))),
            [Binary(Operator.MOV, 64, pointer, R10), Binary(Operator.ADD, 64, pointer, -24)],
        )
    )
    size, offset = random.choice((1, 2, 4, 8)), random.choice((0, 0, 4, 8, 61))
    follow = random.choice(
        (
            Load(size, False, _draw_register(random), pointer, offset),
            Store(size, pointer, offset, _draw_operand(random)),
        )
    )
    mask = Binary(Operator.AND, random.choice((32, 64)), register, random.choice((1, 7, 8, 16, 31, 56, 63)))
    kept = Store(8, R10, random.choice((-8, -16, -24)), _draw_register(random))
    return [kept, mask, *start, Binary(Operator.ADD, 64, pointer, register), follow]


def _draw_helper_call(random):
    """Arguments that fit, or whatever the registers hold."""
    setup = []
    if random.random() < 0.8:
        for pointer, length in ((R1, R2), (R3, R4)):
            base = random.choice((R10, R10, *_REGISTERS))
            setup += [
                Binary(Operator.MOV, 64, pointer, base),
                Binary(Operator.ADD, 64, pointer, random.choice((-8, -16, -64, -512)) if base is R10 else 0),
                Binary(Operator.MOV, 64, length, random.choice((0, 1, 8, 16, 64))),
            ]
    return [*setup, CallHelper(random.choice(_HELPERS).number), *_draw_refill(random)]


def _draw_local_call(random):
    return [CallLocal(0), *_draw_refill(random)]


def _draw_refill(random):
    """What a call did not keep, in part."""
    return [
        instruction
        for register in _REGISTERS[1:6]
        if random.random() < 0.5
        for instruction in _draw_start(random, register)
    ]


def _draw_exit(_random):
    return [Exit()]


_DRAWS = (
    *[_draw_arithmetic] * 6,
    *[_draw_move] * 4,
    *[_draw_step] * 5,
    *[_draw_unary] * 2,
    *[_draw_wide] * 2,
    *[_draw_load] * 7,
    *[_draw_store] * 6,
    *[_draw_atomic] * 2,
    *[_draw_branch] * 6,
    _draw_jump,
    *[_draw_index] * 3,
    *[_draw_helper_call] * 2,
    *[_draw_local_call] * 2,
)


def _link(random, parts):
    """Put the parts behind each other and aim their jumps and calls; calls go to later parts alone."""
    starts = [sum(map(len, parts[:number])) for number in range(len(parts) + 1)]
    slots = [slot for part in parts for slot in part]
    for number, part in enumerate(parts):
        start, end = starts[number], starts[number + 1]
        targets = [index for index in range(start, end) if slots[index] is not None]
        for index, slot in enumerate(part, start):
            if isinstance(slot, Branch | Jump):
                aim = [one for one in targets if one > index] if random.random() < 0.75 else targets
                slots[index] = _aim(slot, random.choice(aim) - index - 1)
            elif isinstance(slot, CallLocal):
                later = starts[number + 1 : -1]
                slots[index] = CallLocal(random.choice(later) - index - 1) if later else _number(random, R0)
    return slots


def _aim(slot, distance):
    if isinstance(slot, Jump):
        return Jump(distance, slot.long)
    return Branch(slot.condition, slot.bits, slot.left, slot.right, distance)


def _replace(random, slots, refusal):
    """Put a move of a number in the place of what was refused; before an exit, where that gives a pointer."""
    index = refusal.slot - (refusal.rule is Rule.RESULT_POINTER)
    if slots[index] is None:
        index -= 1
    written = R0 if refusal.rule is Rule.RESULT_POINTER else getattr(slots[index], "destination", R0)
    if index + 1 < len(slots) and slots[index + 1] is None:
        slots[index + 1] = _number(random, written)
    slots[index] = _number(random, written)


def _number(random, register):
    return Binary(Operator.MOV, 64, register, random.choice(_NUMBERS))
