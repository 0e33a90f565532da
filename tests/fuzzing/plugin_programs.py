"""Random programs that call the plugins' helpers, with arguments that mean something to them.

In: a source of numbers. Out: a program as `program_generation` makes them, whose constants are words: JSON
texts, pointers, names and values of fields, encoded texts. Helpers read words, what earlier helpers wrote, or
any bytes; what they give is stored where the outcome shows it.
"""

from unit.jit import program_generation
from unit.jit.program_generation import MEMORY_BYTES, Generated, _Generator
from zeroserve_ir.program import abi
from zeroserve_ir.program.abi import Argument
from zeroserve_ir.program.isa import R0, R1, R2, R3, R4, R5, R6, R10

WORDS = {
    "json": [
        b'{"a":{"b":[1,2,"x"]},"c":null,"d":true}',
        b"[]",
        b"{}",
        b"7",
        b'"text \\u00e4\\n"',
        b"null",
        b"[[[1]]]",
        b'{"a":1,"a":2,"z":"q","b":false}',
        b'{"a" : [ ]\t}',
        b"{",
        b"[1,]",
        b"01",
        b"-3",
        b'"\\ud800"',
        b"tru",
        b'{"kty":"oct","k":"c2VjcmV0"}',
        b'{"kty":"oct","k":"c2VjcmV0="}',
        b'{"kty":7}',
        b"\xef\xbb\xbf1",
    ],
    "pointer": [
        b"",
        b"/a",
        b"/a/b",
        b"/a/b/2",
        b"/a/b/-",
        b"/a/b/01",
        b"/c/new",
        b"/d/x",
        b"a",
        b"/m~1n~0",
        b"/",
        b"/route/plugin",
        b"/version",
        b"/config",
        b"/a/b/9",
        b"/a/b/+1",
        b"/\xff",
    ],
    "name": [
        b"X-One",
        b"x-one",
        b"Accept",
        b"Cookie",
        b"X-New",
        b"Host",
        b"te",
        b"X_Real_IP",
        b"bad name",
        b"",
        b"x*",
        b"id",
        b"theme",
        b"flag",
        b"name",
        b"x",
        b"empty",
        b"token",
        b"store",
        b"other",
        b"key",
        b"more",
    ],
    "value": [
        b"plain",
        b"  spaced\t",
        b"two\r\nlines",
        b"",
        b"12",
        b"-3",
        b"+4",
        b"9223372036854775807",
        b"GET",
        b"/new/path",
        b"/x?y=1",
        b"/a b",
        b"q=1&r",
        b"s3cret",
        b"PATCH",
        b"caf\xc3\xa9",
        b"\xff\xfe",
    ],
    "text": [
        b"YQ==",
        b"YWI",
        b"YWI=",
        b"YWJj",
        b"_-8",
        b"+/8=",
        b"YR==",
        b"616263",
        b"6g",
        b"a%20b",
        b"%zz",
        b"a+b",
        b"%41%",
        b"a b/\xff~",
    ],
    "pattern": [b"%Y%m%dT%H%M%SZ", b"%a, %d %b %Y", b"%j%%", b"%q", b"%", b"\xc3\xa4%Y", b"\xff"],
}
_ALL = [(kind, word) for kind, words in WORDS.items() for word in words]
BLOB = b"".join(word for _, word in _ALL).ljust(program_generation.CONSTANTS_BYTES * 4, b"\n")
_SCALARS = (0, 0, 1, 1, 2, 3, 4, 5, 6, 8, 60, 200, 599, 1 << 20, 1_440_938_160, 253_402_300_800, -1)
_FIRST = {
    "read_json": ("pointer",),
    "find_json_kind": ("pointer",),
    "count_json": ("pointer",),
    "parse_json": ("json",),
    "write_json": ("pointer", "json"),
    "write_json_string": ("pointer", "value"),
    "format_time": ("pattern",),
    "decode": ("text",),
    "import_key": ("json",),
}
LEFT_OUT = frozenset({"fill_random", "limit_events", "fetch", "call_function"})
"""Random, by the engine's clock, or of others: the attacks call them."""
HELPERS = tuple(
    helper for helper in abi.HELPERS if helper.use is not abi.Use.ROUTE and helper.name not in LEFT_OUT
)

_RELATED = tuple(
    [helper for helper in HELPERS if word in helper.name] for word in ("json", "value", "header", "metadata")
)


def generate(random):
    """Return a program; equal seeds give equal programs."""
    made = _PluginGenerator(random, ()).generate()
    return Generated(made.code, BLOB, made.memory, made.fuel)


class _PluginGenerator(_Generator):
    def _helper(self):
        self._call_helper(self.random.choice(HELPERS))

    def _memory_helper(self):
        # Documents and kept values need several helpers in a row.
        for helper in self.random.choices(self.random.choice(_RELATED), k=2):
            self._call_helper(helper)

    def _call_helper(self, helper):
        kinds = iter(_FIRST.get(helper.name, ()))
        registers = iter((R1, R2, R3, R4, R5))
        for argument in helper.arguments:
            if argument is Argument.LENGTH:
                continue
            register = next(registers)
            if argument is Argument.READ:
                self._read(register, next(registers), next(kinds, "name" if register is R1 else "value"))
            elif argument in (Argument.WRITE, Argument.DIGEST):
                self._room(register, None if argument is Argument.DIGEST else next(registers))
            else:
                self.assembler.load_immediate(register, self.random.choice(_SCALARS))
        self.assembler.call(helper.name)
        self.assembler.store(R6, self.random.randrange(0, MEMORY_BYTES - 8, 8), R0, 8)
        self._fill((R1, R2, R3, R4, R5))

    def _read(self, pointer, length, kind):
        choice = self.random.random()
        if choice < 0.75:
            word = self.random.choice(WORDS[kind])
            self.assembler.load_constants(pointer, BLOB.index(word))
            self.assembler.mov(length, len(word))
            return
        if choice < 0.85:
            self.assembler.load_constants(pointer, self.random.randrange(len(BLOB) - 64))
        elif choice < 0.95:
            self.assembler.mov(pointer, R6)
        else:
            self.assembler.load_immediate(pointer, abi.HEAP + self.random.randrange(64))
        self.assembler.mov(length, self.random.randint(0, 64))

    def _room(self, pointer, length):
        base, low, high = self.random.choice(((R6, 0, MEMORY_BYTES), (R10, -abi.FRAME_BYTES, 0)))
        self.assembler.mov(pointer, base)
        size = self.random.randint(0, 64)
        self.assembler.alu("add", pointer, self.random.randint(low, high - 64))
        if length is not None:
            self.assembler.mov(length, size)
