"""Plugins that attack: ELF files whose code is an attack, or whose parts lie to whoever reads them.

In: a seed. Out: a file, and what is tried. The writer here writes what it is told, sound or not: no compiler
would make such files.
"""

import struct
from dataclasses import dataclass, field
from random import Random

from zeroserve_ir.program import abi

from fuzzing import attacks
from fuzzing.attacks import EXIT, call, copy, encode, load_number, mov

_EDGES = (0, 1, 7, 8, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 32, (1 << 63) - 1, 1 << 63, -8, -1)
PROGBITS, SYMTAB, STRTAB, RELA, NOBITS, REL = 1, 2, 3, 4, 8, 9


@dataclass
class Part:
    """A section; `size`, `offset` and the like are what its header says, whatever its content is."""

    name: str
    kind: int
    flags: int = 0
    content: bytes = b""
    link: int = 0
    info: int = 0
    align: int = 8
    entry: int = 0
    said: dict = field(default_factory=dict)


def symbol(name, info, section, value, size):
    """An Elf64_Sym; `name` is an offset in .strtab."""
    return _pack("<IBBHQQ", name, info, 0, section, value, size)


def relocation(offset, kind, number):
    """An Elf64_Rel."""
    return _pack("<QQ", offset, (number & 0xFFFF_FFFF) << 32 | kind)


@dataclass
class File:
    """A plugin's file: sections by number, and what the ELF header says of them."""

    code: bytes
    data: bytes = bytes(64)
    symbols: list = field(default_factory=list)
    relocations: list = field(default_factory=list)
    extra: list = field(default_factory=list)
    header: dict = field(default_factory=dict)
    said: dict = field(default_factory=dict)

    def parts(self):
        """Null, function, .data, .bss, .relfunction, .strtab, .symtab, .BTF, .BTF.ext, then others."""
        names = b"\0f\0g\0data\0"
        symbols = self.symbols or [symbol(1, 0x12, 1, 0, len(self.code)), symbol(5, 0x11, 2, 0, 8)]
        table = symbol(0, 0, 0, 0, 0) + b"".join(symbols)
        types, extension = _write_types(self.said.get("btf", {}))
        parts = [
            Part("", 0),
            Part("function", PROGBITS, 6, self.code),
            Part(".data", PROGBITS, 3, self.data),
            Part(".bss", NOBITS, 3),
            Part(".relfunction", REL, 0, b"".join(self.relocations), link=6, info=1, entry=16),
            Part(".strtab", STRTAB, 0, names, align=1),
            Part(".symtab", SYMTAB, 0, table, link=5, info=1, entry=24),
            Part(".BTF", PROGBITS, 0, types, align=4),
            Part(".BTF.ext", PROGBITS, 0, extension, align=4),
            *self.extra,
        ]
        for number, said in self.said.get("parts", {}).items():
            parts[number].said |= said
        return parts

    def write(self):
        """Return the file's bytes."""
        parts = self.parts()
        names, places = b"\0", []
        for part in [*parts, Part(".shstrtab", STRTAB, 0, b"", align=1)]:
            places.append(len(names))
            names += part.name.encode() + b"\0"
        parts.append(Part(".shstrtab", STRTAB, 0, names, align=1))
        body, headers = b"", b""
        for part, name in zip(parts, places, strict=True):
            body += bytes(-len(body) % 8)
            size = part.said.get("size", len(part.content))
            values = {
                "name": name,
                "kind": part.kind,
                "flags": part.flags,
                "address": 0,
                "offset": 64 + len(body),
                "size": size,
                "link": part.link,
                "info": part.info,
                "align": part.align,
                "entry": part.entry,
            } | part.said
            headers += _pack("<IIQQQQIIQQ", *values.values())
            body += part.content
        body += bytes(-len(body) % 8)
        said = {
            "type": 1,
            "machine": 247,
            "version": 1,
            "entry": 0,
            "programs": 0,
            "start": 64 + len(body),
            "flags": 0,
            "head": 64,
            "program": 0,
            "program_count": 0,
            "size": 64,
            "count": len(parts),
            "names": len(parts) - 1,
        } | self.header
        return b"\x7fELF\x02\x01\x01" + bytes(9) + _pack("<HHIQQQIHHHHHH", *said.values()) + body + headers


def _pack(form, *numbers):
    """Pack what fits of each number."""
    sizes = (struct.calcsize(f"<{letter}") for letter in form[1:])
    return struct.pack(form, *(number % (1 << 8 * size) for number, size in zip(numbers, sizes, strict=True)))


def _write_types(said):
    """Return .BTF and .BTF.ext with a line, or `times` as many; `said` replaces numbers of their headers."""
    strings, times = b"\0function\0plugin.c\0" + said.get("name", b""), said.get("times", 1)
    lines = _pack("<III", said.get("record", 16), said.get("section", 1), said.get("count", times))
    lines += times * _pack("<IIII", said.get("slot", 0), said.get("file", 10), 0, said.get("line", 7 << 10))
    return _put_head("strings", strings, said), _put_head("lines", lines, said)


def _put_head(part, content, said):
    """Return a part behind the header of its section, which .BTF and .BTF.ext have alike."""
    numbers = (said.get("magic", 0xEB9F), 1, 0, said.get("header", 24), 0, 0)
    return _pack("<HBBIIIII", *numbers, said.get(part, 0), said.get(f"{part}_size", len(content))) + content


def generate_file(seed):
    """Return (kind, bytes) of a seed; the kinds take turns."""
    random = Random(f"file {seed}")
    kind = KINDS[seed % len(KINDS)]
    if kind in attacks.ATTACKS:
        body = attacks.ATTACKS[kind](random)
        reveal = encode(0x7B, 6, 0, random.randrange(0, 64, 8)) if random.random() < 0.7 else b""
        return kind, File(copy(6, 1) + mov(0, 0) + body + reveal + EXIT).write()
    return kind, FILES[kind](random).write()


def _sound(random):
    """Code that reads and changes its data, and calls another function of the file."""
    code = load_number(3, 0) + encode(0x79, 0, 3) + encode(0x7B, 3, 0, 8) + call(1, 1) + EXIT
    code += encode(0xB7, 0, immediate=random.getrandbits(31)) + EXIT
    size = 6 * 8
    symbols = [symbol(1, 0x12, 1, 0, size), symbol(3, 0x02, 1, size, 16), symbol(5, 0x11, 2, 0, 64)]
    return File(code, random.randbytes(64), symbols, [relocation(0, 1, 3)])


def _bad_relocations(random):
    file = _sound(random)
    for _ in range(random.randint(1, 4)):
        offset = random.choice((0, 8, 16, 32, 40, 56, 64, random.choice(_EDGES)))
        kind = random.choice((0, 1, 2, 3, 4, 10, 11, 0xFF, random.getrandbits(31)))
        file.relocations.append(relocation(offset, kind, random.choice((0, 1, 2, 3, 4, 1000, 0xFFFF_FFFF))))
    if random.random() < 0.3:
        kind, size = random.choice(((RELA, 24), (REL, 0), (REL, 8), (REL, 1 << 31)))
        file.said["parts"] = {4: {"kind": kind, "entry": size}}
    return file


def _overlapping_sections(random):
    file = _sound(random)
    offset, size = random.choice((0, 64, 72, 120)), random.choice((0, 8, 64, 112, 400))
    file.said["parts"] = {random.randint(1, 8): {"offset": offset, "size": size}}
    if random.random() < 0.5:
        file.symbols[1] = symbol(
            3, random.choice((0x02, 0x12)), 1, random.choice((0, 8, 40)), random.choice((8, 56, 64))
        )
    return file


def _sections_past_the_end(random):
    file = _sound(random)
    field_ = random.choice(("offset", "size", "align", "name", "link", "info", "entry", "flags", "kind"))
    value = random.choice((*_EDGES, 0x800, 3, 9, 300))
    file.said["parts"] = {random.randint(0, 8): {field_: value} for _ in range(random.randint(1, 3))}
    return file


def _forged_headers(random):
    file = _sound(random)
    key = random.choice(("start", "size", "count", "names", "machine", "type"))
    file.header[key] = random.choice((*_EDGES, 0xFFFF, 0xFF00, 513, 3))
    return file


def _forged_line_info(random):
    file = _sound(random)
    keys = (
        "magic",
        "header",
        "strings",
        "strings_size",
        "record",
        "section",
        "count",
        "slot",
        "file",
        "line",
        "lines",
        "lines_size",
    )
    said = {key: random.choice([edge for edge in _EDGES if edge < 1 << 32]) for key in random.sample(keys, 3)}
    file.said["btf"] = said | {"magic": random.choice((0xEB9F, 0xEB9F, 0x9FEB))}
    return file


def bomb_line_info(functions, lines):
    """As many lines, of one instruction, beside as many functions, each of an instruction, that one calls."""
    code = call(functions, 1) * functions + EXIT + EXIT * functions
    symbols = [symbol(1, 0x12, 1, 0, 8 * functions + 8)]
    symbols += [symbol(0, 0x02, 1, 8 * (functions + 1 + number), 8) for number in range(functions)]
    name = b"\x1b[2J" + b"n" * 300 + b"\0"
    return File(code, symbols=symbols, said={"btf": {"times": lines, "file": 19, "name": name}})


def _bombs_of_line_info(random):
    return bomb_line_info(random.choice((1, 60, 1300)), random.choice((1, 300, 5000)))


def _huge_symbol_tables(random):
    file = _sound(random)
    many = random.choice((100, 8190, 8191, 9000, 20_000))
    value = random.choice((0, 8, 1 << 40))
    file.symbols += [symbol(random.choice((0, 1, 1 << 31)), random.choice((0, 2, 0x10)), 1, value, 8)] * many
    return file


def _symbols_elsewhere(random):
    file = _sound(random)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(3)
        place = random.choice((0, 1, 2, 3, 4, 9, 10, 255, 0xFFF1, 0xFFF2, 0xFFFF))
        info = random.choice((0x02, 0x12, 0x22, 0x11, 0x03, 0x04, 0x0A, 0xFF))
        edges = random.choice((0, 0, *_EDGES)), random.choice((8, 48, 64, *_EDGES))
        file.symbols[at] = symbol(random.choice((1, 3, 5, 99, 0xFFFF_FFFF)), info, place, *edges)
    return file


def _many_sections(random):
    file = _sound(random)
    count = random.choice((400, 502, 503, 600, 5000))
    content = bytes(random.choice((0, 8, 64)))
    file.extra = [
        Part(random.choice(("function", ".data", "x")), random.choice((1, 1, 8, 2)), 6, content)
    ] * count
    return file


def _self_reference_of_files(random):
    """Tables that are described by themselves, code that names its own section, names that are code."""
    file = _sound(random)
    said = random.choice(
        (
            {6: {"link": 6}},
            {5: {"offset": 64, "size": 64}},
            {4: {"info": 4}},
            {4: {"link": 4}},
            {4: {"info": 6}},
            {6: {"offset": 0, "size": 24 * 40}},
            {9: {"offset": 64}},
            {1: {"flags": 2}},
            {2: {"flags": 6}},
        )
    )
    file.said["parts"] = {number: value for number, value in said.items() if number < 9}
    file.relocations.append(relocation(random.choice((0, 32)), random.choice((1, 10)), random.choice((1, 2))))
    return file


def _damaged_bytes(random):
    content = bytearray(_sound(random).write())
    for _ in range(random.randint(1, 24)):
        content[random.randrange(len(content))] = random.choice((0, 0xFF, random.randrange(256)))
    return _Written(bytes(content[: random.choice((len(content), random.randrange(len(content))))]))


@dataclass
class _Written:
    content: bytes

    def write(self):
        return self.content


def _recursion_over_relocations(random):
    """Functions that call each other by relocations, in a circle or nine deep."""
    depth = random.choice((2, 3, 8, 9, 12))
    circle = random.random() < 0.5
    code, symbols, relocations = b"", [], []
    for number in range(depth):
        symbols.append(symbol(1 if number == 0 else 0, 0x12 if number == 0 else 0x02, 1, number * 24, 24))
        code += mov(0, number) + call(-1, 1) + EXIT
        callee = number + 2 if number + 1 < depth else 1
        if number + 1 < depth or circle:
            relocations.append(relocation(number * 24 + 8, 10, callee))
    return File(code, bytes(64), symbols, relocations)


def _hostile_lengths(random):
    """Each helper with pointers that lie somewhere and lengths that lie anywhere."""
    helper = random.choice([one for one in abi.HELPERS if one.use is not abi.Use.ROUTE])
    code = copy(6, 1)
    for register, argument in enumerate(helper.arguments, 1):
        if argument is abi.Argument.LENGTH:
            lengths = (0, 1, 32, 513, 4096, 65_536, 65_537, 1 << 20, -1, 1 << 31)
            code += random.choice(
                (mov(register, random.choice(lengths)), encode(0x79, register, 6, random.randrange(0, 96, 8)))
            )
        elif argument in (abi.Argument.READ, abi.Argument.WRITE, abi.Argument.DIGEST):
            code += random.choice(
                (
                    copy(register, 10) + encode(0x07, register, immediate=random.choice((-512, -64, -8))),
                    copy(register, 6) + encode(0x07, register, immediate=random.choice((0, 65_500, 65_535))),
                    load_number(register, abi.HEAP + random.choice((0, 64, 65_535, 65_536))),
                    load_number(
                        register, random.choice((abi.STACK, abi.STACK_TOP, abi.CONTEXT - 1, 1 << 32, 0))
                    ),
                    encode(0x79, register, 6, random.randrange(0, 96, 8)),
                )
            )
        else:
            code += mov(register, random.choice((0, 1, 4, 5, 6, 64, -1, 1 << 30)))
    # What came back is used as an address, and shown.
    use = encode(0x7B, 6, 0, 64) + random.choice(
        (b"", encode(0x79, 0, 0, 0), copy(3, 0) + encode(0x7B, 3, 0, 0))
    )
    return File(code + call(helper.number) + use + EXIT)


def _forged_by_results(random):
    """A pointer that a helper wrote: from JSON, a codec, a kept value or metadata."""
    address = random.choice(
        (*attacks._NATIVE, abi.HEAP, abi.STACK, abi.HEAP + abi.HEAP_BYTES - 4, 1 << 32 | abi.HEAP)
    )
    data = address.to_bytes(8, "little").hex().encode().ljust(24, b"\0")
    code = copy(6, 1) + load_number(2, 0)
    symbols, relocations = [], [relocation(8, 1, 2)]
    decoding = mov(1, abi.Codec.HEX) + mov(3, 16) + copy(4, 10) + encode(0x07, 4, immediate=-8) + mov(5, 8)
    code += decoding + call(abi.BY_NAME["decode"].number) + encode(0x79, 3, 10, -8)
    if random.random() < 0.5:
        key = (
            copy(1, 10)
            + encode(0x07, 1, immediate=-8)
            + mov(2, 8)
            + copy(3, 10)
            + encode(0x07, 3, immediate=-8)
        )
        code += (
            key + mov(4, 8) + mov(5, 60) + call(abi.BY_NAME["write_value"].number) + encode(0x79, 3, 10, -8)
        )
    access = random.choice(
        (encode(0x79, 0, 3, 0), encode(0x7B, 3, 6, 0), encode(0xDB, 3, 6, 0, 0), encode(0x71, 0, 3, -1))
    )
    code += mov(0, 0) + access + encode(0x7B, 6, 0, 64) + EXIT
    symbols = [symbol(1, 0x12, 1, 0, len(code)), symbol(5, 0x11, 2, 0, 24)]
    return File(code, data, symbols, relocations)


def _calls_of_itself(random):
    """A function that calls itself as another plugin, to depth 8 and past it, then looks around."""
    name = b'self f\0\0{"deep":1}'
    code = copy(6, 1) + load_number(1, 0) + mov(2, 6) + load_number(3, 8) + mov(4, random.choice((10, 0, 11)))
    times = random.randint(1, 3)
    body = code + call(abi.BY_NAME["call_function"].number)
    code = (
        body * times
        if times == 1
        else body
        + b"".join(
            load_number(1, 0)
            + mov(2, 6)
            + load_number(3, 8)
            + mov(4, 10)
            + call(abi.BY_NAME["call_function"].number)
            for _ in range(times - 1)
        )
    )
    relocations = [
        relocation(at, 1, 2)
        for at in range(0, len(code), 8)
        if code[at] == 0x18 and code[at + 1] & 0xF in (1, 3)
    ]
    look = load_number(
        3, random.choice((abi.HEAP + 4096, abi.HEAP, abi.STACK, abi.CONTEXT + 65_000, abi.HEAP + 65_536))
    )
    look += encode(0x79, 4, 3, 0) + encode(0x7B, 6, 4, 72) + encode(0x7B, 3, 0, 8)
    code += encode(0x7B, 6, 0, 64) + look + mov(0, 0) + EXIT
    symbols = [symbol(1, 0x12, 1, 0, len(code)), symbol(5, 0x11, 2, 0, 24)]
    return File(code, name.ljust(24, b"\0"), symbols, relocations)


FILES = {
    "bad relocations": _bad_relocations,
    "bombs of line info": _bombs_of_line_info,
    "calls of itself": _calls_of_itself,
    "damaged bytes": _damaged_bytes,
    "forged by results": _forged_by_results,
    "forged headers": _forged_headers,
    "forged line info": _forged_line_info,
    "hostile lengths": _hostile_lengths,
    "huge symbol tables": _huge_symbol_tables,
    "many sections": _many_sections,
    "overlapping sections": _overlapping_sections,
    "recursion over relocations": _recursion_over_relocations,
    "sections past the end": _sections_past_the_end,
    "self-reference of files": _self_reference_of_files,
    "sound": _sound,
    "symbols elsewhere": _symbols_elsewhere,
}
KINDS = (*sorted(FILES), *sorted(attacks.ATTACKS))
