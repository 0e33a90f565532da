"""Random programs that the verifier accepts, made to reach every instruction, region, call and trap."""

from dataclasses import dataclass

from zeroserve_ir.program import abi
from zeroserve_ir.program.assembling import CONDITIONS, OPERATORS, Assembler
from zeroserve_ir.program.isa import R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10

CONSTANTS_BYTES = 256
MEMORY_BYTES = 256
_ITEMS_MAX = (2, 2, 3, 3, 4, 4, 6, 8, 30)
_CALLEE_ITEMS_MAX = (1, 2, 3, 8)
"""Most programs are small: what executions may disagree on shows there as well, in a fraction of the time."""
_OPERATORS, _CONDITIONS = tuple(OPERATORS), tuple(CONDITIONS)
_SCRATCH = (R0, R1, R2, R3, R4, R5)
_EDGES = (0, 1, -1, 7, 31, 32, 63, 64, 255, 1 << 15, (1 << 31) - 1, -(1 << 31))
_WIDE_EDGES = (1 << 31, 1 << 32, (1 << 32) - 1, 1 << 63, (1 << 63) - 1, (1 << 64) - 1)
_MEMORY = ("log_message", "read_request_header", "write_request_header", "write_response_header")
_ROWS = [
    helper
    for helper in abi.HELPERS
    if helper.arguments in {(abi.Argument.ROW,), (abi.Argument.SCALAR,)} and not helper.is_charged_by_length
]


@dataclass(frozen=True)
class Generated:
    """A program and what it runs on."""

    code: bytes
    constants: bytes
    memory: bytes
    fuel: int


def generate(random, *, helpers=_ROWS):
    """Return a program; equal seeds give equal programs. `helpers` take a number."""
    return _Generator(random, helpers).generate()


class _Generator:
    """Registers: r6 context, r7 constants, r8 loop counter, r9 a pointer in the making; the rest numbers."""

    def __init__(self, random, helpers):
        self.random = random
        self.helpers = helpers
        self.assembler = Assembler()
        self.labels = 0
        self.subprograms = random.choice((0, 0, 0, 1, 1, 2, 3))
        self.in_loop = False

    def generate(self):
        self._begin()
        self._write_items(self.random.randint(2, self.random.choice(_ITEMS_MAX)), first_callee=0)
        self._finish()
        for number in range(self.subprograms):
            self.assembler.label(f"subprogram{number}")
            self._begin_subprogram()
            self._write_items(
                self.random.randint(1, self.random.choice(_CALLEE_ITEMS_MAX)), first_callee=number + 1
            )
            self._finish()
        return Generated(
            self.assembler.finish(),
            self.random.randbytes(CONSTANTS_BYTES),
            self.random.randbytes(MEMORY_BYTES),
            self.random.choice((abi.FUEL_DEFAULT, abi.FUEL_DEFAULT, self.random.randint(0, 2000))),
        )

    def _begin(self):
        self.assembler.mov(R6, R1)
        self.assembler.load_constants(R7, 0)
        self._fill(_SCRATCH)

    def _begin_subprogram(self):
        # r1 to r5 come from the caller: r1 is the context, the others are numbers.
        self.assembler.mov(R6, R1)
        self.assembler.load_constants(R7, 0)
        self._fill((R0, R1))

    def _finish(self):
        for register in _SCRATCH[1:]:
            self.assembler.alu("xor", R0, register)
            self.assembler.alu("mul", R0, 31)
        self.assembler.exit()

    def _fill(self, registers):
        for register in registers:
            if self.random.random() < 0.3:
                self.assembler.load(register, R6, self.random.randrange(MEMORY_BYTES - 8), 8)
            else:
                self.assembler.load_immediate(register, self._number(wide=True))

    def _number(self, *, wide=False):
        edges = _EDGES + _WIDE_EDGES if wide else _EDGES
        if self.random.random() < 0.5:
            return self.random.choice(edges)
        bits = self.random.randint(1, 63 if wide else 31)
        return self.random.getrandbits(bits) * self.random.choice((1, -1))

    def _operand(self):
        return self.random.choice(_SCRATCH) if self.random.random() < 0.6 else self._number()

    def _label(self):
        self.labels += 1
        return f"l{self.labels}"

    def _write_items(self, count, *, first_callee):
        kinds = [self._alu] * 8 + [
            self._unary,
            self._context,
            self._stack,
            self._constants,
            self._masked_constants,
            self._caged,
            self._atomic,
            self._helper,
            self._memory_helper,
        ] * 2
        kinds += [self._kept_address, self._forged]
        for _ in range(count):
            choice = self.random.random()
            if choice < 0.08:
                self._branch(first_callee)
            elif choice < 0.13 and not self.in_loop:
                self._loop(first_callee)
            elif choice < 0.18 and first_callee < self.subprograms:
                self._call(first_callee)
            elif choice < 0.185:
                self._wild()
            else:
                self.random.choice(kinds)()

    def _alu(self):
        name, bits = self.random.choice(_OPERATORS), self.random.choice((32, 64))
        self.assembler.alu(name, self.random.choice(_SCRATCH), self._operand(), bits)

    def _unary(self):
        register, bits = self.random.choice(_SCRATCH), self.random.choice((32, 64))
        kind = self.random.randrange(3)
        if kind == 0:
            self.assembler.negate(register, bits)
        elif kind == 1:
            order = self.random.choice(("le", "be", "swap"))
            self.assembler.swap_bytes(order, register, self.random.choice((16, 32, 64)))
        else:
            from_bits = self.random.choice((8, 16, 32) if bits == 64 else (8, 16))
            self.assembler.sign_extend(register, self.random.choice(_SCRATCH), from_bits, bits)

    def _access(self, base, low, high, *, store=True):
        size = self.random.choice((1, 2, 4, 8))
        offset = self.random.randint(low, high - size)
        if store and self.random.random() < 0.5:
            self.assembler.store(base, offset, self._operand(), size)
        else:
            signed = size < 8 and self.random.random() < 0.4
            self.assembler.load(self.random.choice(_SCRATCH), base, offset, size, signed=signed)

    def _context(self):
        self._access(R6, 0, MEMORY_BYTES)

    def _stack(self):
        self._access(R10, -abi.FRAME_BYTES, 0)

    def _constants(self):
        self._access(R7, 0, CONSTANTS_BYTES, store=False)

    def _masked_constants(self):
        self.assembler.mov(R9, self.random.choice(_SCRATCH))
        self.assembler.alu("and", R9, self.random.choice((7, 63, 127)))
        self.assembler.alu("add", R9, R7)
        self._access(R9, 0, CONSTANTS_BYTES - 128, store=False)

    def _point(self):
        """Make r9 a number that the verifier does not know, mapped except where it wraps on purpose."""
        base = self.random.choice((abi.CONTEXT, abi.HEAP, abi.STACK, abi.STACK_TOP - 1536))
        self.assembler.load(R9, R6, self.random.randrange(MEMORY_BYTES - 8), 8)
        self.assembler.alu("and", R9, 0x3F8)
        self.assembler.alu("add", R9, base + 256)
        if self.random.random() < 0.3:
            self.assembler.load_immediate(R4, self.random.getrandbits(31) << 32 | 1 << 40)
            self.assembler.alu("add", R9, R4)

    def _caged(self):
        self._point()
        self._access(R9, -256, 256)

    def _atomic(self):
        name = self.random.choice(("add", "or", "and", "xor", "xchg", "cmpxchg"))
        size, fetch = self.random.choice((4, 8)), self.random.random() < 0.5
        source = self.random.choice(_SCRATCH)
        if self.random.random() < 0.5:
            offset = -size * self.random.randint(1, abi.FRAME_BYTES // size)
            self.assembler.atomic(name, R10, offset, source, size, fetch=fetch)
        else:
            self._point()
            self.assembler.atomic(name, R9, self.random.randint(-64, 64), source, size, fetch=fetch)

    def _helper(self):
        helper = self.random.choice(self.helpers)
        self.assembler.call(helper.name)
        self._keep()

    def _memory_helper(self):
        self._argument(R1, R2)
        helper = self.random.choice(_MEMORY)
        if helper == "read_request_header":
            self.assembler.mov(R3, R10)
            self.assembler.alu("add", R3, -self.random.randint(32, abi.FRAME_BYTES))
            self.assembler.mov(R4, self.random.randint(0, 32))
        elif helper != "log_message":
            self._argument(R3, R4)
        self.assembler.call(helper)
        self._keep()

    def _keep(self):
        """Store what a helper gave where the outcome shows it."""
        self.assembler.store(R6, self.random.randrange(MEMORY_BYTES - 8), R0, 8)
        self._fill(_SCRATCH[1:])

    def _argument(self, pointer, length):
        if self.random.random() < 0.5:
            self.assembler.load_constants(pointer, self.random.randint(0, CONSTANTS_BYTES - 32))
        else:
            self.assembler.mov(pointer, R6)
        self.assembler.mov(length, self.random.randint(0, 32))

    def _branch(self, first_callee):
        label, name = self._label(), self.random.choice(_CONDITIONS)
        bits = self.random.choice((32, 64))
        self.assembler.jump_if(name, self.random.choice(_SCRATCH), self._operand(), label, bits)
        self._write_items(self.random.randint(1, 5), first_callee=first_callee)
        self.assembler.label(label)

    def _loop(self, first_callee):
        label = self._label()
        self.in_loop = True
        self.assembler.mov(R8, self.random.randint(1, 12))
        self.assembler.label(label)
        self._write_items(self.random.randint(1, 6), first_callee=first_callee)
        self.assembler.alu("sub", R8, 1)
        self.assembler.jump_if("jne", R8, 0, label)
        self.in_loop = False

    def _call(self, first_callee):
        self.assembler.mov(R1, R6)
        self.assembler.call_local(f"subprogram{self.random.randrange(first_callee, self.subprograms)}")
        self._fill(_SCRATCH[1:])

    def _kept_address(self):
        """Keep an address in the frame while something else may overwrite it, and use it."""
        place = -8 * self.random.randint(1, abi.FRAME_BYTES // 8)
        self.assembler.load_immediate(R9, self.random.choice((abi.CONTEXT, abi.HEAP)) + 64)
        self.assembler.store(R10, place, R9, 8)
        if self.random.random() < 0.8:
            self.random.choice((self._stack, self._caged, self._atomic, self._helper, self._memory_helper))()
        self.assembler.load(R9, R10, place, 8)
        self._access(R9, -64, 64)

    def _forged(self):
        """Make a number that looks like a pointer to the constants, and use it: mostly a trap."""
        self.assembler.load(R9, R6, self.random.randrange(MEMORY_BYTES - 8), 8)
        self.assembler.alu("and", R9, 0x3F)
        self.assembler.load_immediate(R4, abi.CONSTANTS + self.random.choice((0, 0, abi.CONTEXT, -32)))
        self.assembler.alu("add", R9, R4)
        self._access(R9, -64, 64)

    def _wild(self):
        """Use whatever a register holds as a pointer: mostly a trap."""
        self.assembler.load(R9, R6, self.random.randrange(MEMORY_BYTES - 8), 8)
        self._access(R9, -64, 64)
