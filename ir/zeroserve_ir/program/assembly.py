"""Reads eBPF assembly: text in, code and its lines out.

The syntax is that of the public bpf_conformance vectors (`mov %r0, 5`, `lock fetch add [%r1+8], %r2`),
with labels, helper names, `lddw %r1, constants+8`, `.constants 00ff` (one line continues the other) and, for
code that is malformed on purpose, `.slot 0x95`.
Called by `zeroserve bpf asm` and tests. The rule: any text gives code or AssemblyTextError with its line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from zeroserve_ir.program.assembling import (
    ATOMIC_OPERATORS,
    BYTE_ORDERS,
    CONDITIONS,
    OPERATORS,
    Assembler,
    AssemblyError,
)
from zeroserve_ir.program.isa import (
    Branch,
    CallHelper,
    CallLocal,
    Jump,
    LoadImmediate,
    Register,
)

_SIZES: Final = {"b": 1, "h": 2, "w": 4, "dw": 8}
_SIZE: Final = "(b|h|w|dw)"
_LABEL: Final = re.compile(r"([A-Za-z_.][\w.]*)\s*:\s*")
_CONSTANTS: Final = re.compile(r"\.constants(?:\s+(.*))?\Z")
_NAME: Final = re.compile(r"[A-Za-z_.][\w.]*\Z")
_NUMBER: Final = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|[0-9]+)\Z")
_NUMBER_LETTERS_MAX: Final = 64
"""More than 64 bits take, in decimal or hex with some zeros before; beyond some thousand, int() gives up."""
_REGISTER: Final = re.compile(r"%?r([0-9]|10)\Z")
_MEMORY: Final = re.compile(r"\[\s*(%?r\d+)\s*([+-]\s*\w+)?\s*\]\Z")


class AssemblyTextError(Exception):
    """A line that is no assembly: its number, from 1, and what is wrong."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        self.message = message
        super().__init__(f"line {line}: {message}")


@dataclass(frozen=True, slots=True)
class Assembly:
    """Code, and for each of its instructions (slot number, line of the text from 1)."""

    code: bytes
    lines: tuple[tuple[int, int], ...]
    constants: bytes = b""


@dataclass(frozen=True, slots=True)
class _Form:
    pattern: re.Pattern[str]
    operands: int
    write: Callable[[Assembler, re.Match[str], list[str]], None]


def assemble(text: str) -> Assembly:
    """Assemble text; raises AssemblyTextError with the line at fault."""
    assembler = Assembler()
    lines: list[tuple[int, int]] = []
    constants = bytearray()
    refuse_byte_order_mark(text)
    for number, line in enumerate(text.split("\n"), 1):
        rest = re.split(r"[#;]", line, maxsplit=1)[0].strip()
        try:
            while found := _LABEL.match(rest):
                assembler.label(found[1])
                rest = rest[found.end() :]
            if found := _CONSTANTS.match(rest):
                constants += _read_hex(found[1] or "")
            elif rest:
                lines.append((assembler.position, number))
                _write_line(assembler, rest)
        except AssemblyError as error:
            raise AssemblyTextError(number, str(error)) from error
    return Assembly(_finish(assembler, lines), tuple(lines), bytes(constants))


def refuse_byte_order_mark(text: str) -> None:
    """Raise AssemblyTextError where a text begins with what some editors put before UTF-8."""
    if text.startswith("\N{BYTE ORDER MARK}"):
        raise AssemblyTextError(1, "begins with a byte order mark: save the file as UTF-8 without one")


def _read_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise AssemblyError(f"{text[:20]} is no hex: write two digits a byte, as in 00ff") from error


def _finish(assembler: Assembler, lines: list[tuple[int, int]]) -> bytes:
    try:
        return assembler.finish()
    except AssemblyError as error:
        slot = error.slot if error.slot is not None else 0
        raise AssemblyTextError(dict(lines).get(slot, 1), str(error)) from error


def _write_line(assembler: Assembler, line: str) -> None:
    mnemonic, *rest = line.split(None, 1)
    operands = [part.strip() for part in rest[0].split(",")] if rest else []
    for form in _FORMS:
        found = form.pattern.fullmatch(mnemonic)
        if found is not None:
            if len(operands) != form.operands:
                message = f"{mnemonic} takes {form.operands} operands, not {len(operands)}"
                has_gap = any(len(one.split()) > 1 for one in operands)
                cure = ": write commas between them" if has_gap and len(operands) < form.operands else ""
                raise AssemblyError(message + cure)
            form.write(assembler, found, operands)
            return
    raise AssemblyError(
        f"unknown instruction {mnemonic}: names are in lower case, as in mov, add32, ldxw, jeq"
    )


def _number(text: str) -> int:
    if not _NUMBER.match(text):
        raise AssemblyError(f"not a number: {text}")
    if len(text) > _NUMBER_LETTERS_MAX:
        raise AssemblyError(f"{text[:_NUMBER_LETTERS_MAX]}... does not fit into 64 bits")
    return int(text, 0) if not re.match(r"[+-]?0\d", text) else int(text, 10)


def _register(text: str) -> Register:
    found = _REGISTER.match(text)
    if found is None:
        raise AssemblyError(f"not a register: {text}: they are %r0 to %r10")
    return Register(int(found[1]))


def _operand(text: str) -> Register | int:
    if _REGISTER.match(text):
        return _register(text)
    if not _NUMBER.match(text):
        cure = "comments begin with #" if "/" in text else "registers are %r0 to %r10"
        raise AssemblyError(f"neither a register nor a number: {text}: {cure}")
    value = _number(text)
    # Only hex stands for bits: a decimal number that would turn negative is a mistake.
    if not -(1 << 31) <= value < 1 << (32 if "x" in text.lower() else 31):
        raise AssemblyError(
            f"{text} does not fit into 32 bits with its sign: lddw takes 64, hex stands for bits"
        )
    return value


def _memory(text: str) -> tuple[Register, int]:
    found = _MEMORY.match(text)
    if found is None:
        raise AssemblyError(f"not a memory operand: {text}: write [%r1+8]")
    return _register(found[1]), _number(found[2].replace(" ", "")) if found[2] else 0


def _write_slot(assembler: Assembler, _: re.Match[str], operands: list[str]) -> None:
    word = _number(operands[0])
    if not 0 <= word < 1 << 64:
        raise AssemblyError(f"{operands[0]} does not fit into eight bytes")
    assembler.write_slot(word)


def _write_exit(assembler: Assembler, _: re.Match[str], __: list[str]) -> None:
    # bpf_conformance vectors jump to `exit` without such a label and mean the first exit.
    assembler.labels.setdefault("exit", assembler.position)
    assembler.exit()


def _write_wide(assembler: Assembler, _: re.Match[str], operands: list[str]) -> None:
    destination, text = _register(operands[0]), operands[1]
    if text.startswith("constants"):
        offset = _number(text.removeprefix("constants").replace(" ", "")) if text != "constants" else 0
        assembler.load_constants(destination, offset)
        return
    value = _number(text)
    if not -(1 << 63) <= value < 1 << 64:
        raise AssemblyError(f"{text} does not fit into 64 bits")
    assembler.write(LoadImmediate(destination, value & (1 << 64) - 1))


def _write_load(assembler: Assembler, found: re.Match[str], operands: list[str]) -> None:
    base, offset = _memory(operands[1])
    signed = bool(found[1])
    if signed and found[2] == "dw":
        raise AssemblyError("eight bytes have no sign extension")
    assembler.load(_register(operands[0]), base, offset, _SIZES[found[2]], signed=signed)


def _write_store(assembler: Assembler, found: re.Match[str], operands: list[str]) -> None:
    base, offset = _memory(operands[0])
    value = _operand(operands[1])
    if isinstance(value, Register) != bool(found[1]):
        raise AssemblyError("stx stores a register, st a number")
    assembler.store(base, offset, value, _SIZES[found[2]])


def _write_alu(assembler: Assembler, found: re.Match[str], operands: list[str]) -> None:
    assembler.alu(found[1], _register(operands[0]), _operand(operands[1]), int(found[2] or 64))


def _write_negate(assembler: Assembler, found: re.Match[str], operands: list[str]) -> None:
    assembler.negate(_register(operands[0]), int(found[1] or 64))


def _write_sign_extend(assembler: Assembler, found: re.Match[str], operands: list[str]) -> None:
    from_bits, bits = int(found[1]), int(found[2])
    assembler.sign_extend(_register(operands[0]), _register(operands[1]), from_bits, bits)


def _write_swap(assembler: Assembler, found: re.Match[str], operands: list[str]) -> None:
    assembler.swap_bytes(
        found[1].removeprefix("b") if found[1] == "bswap" else found[1], _register(operands[0]), int(found[2])
    )


def _write_jump(assembler: Assembler, found: re.Match[str], operands: list[str]) -> None:
    long, target = bool(found[1]), operands[0]
    if _NUMBER.match(target):
        assembler.write(Jump(_number(target), long))
    else:
        assembler.write(Jump(0, long), _name(target))


def _write_branch(assembler: Assembler, found: re.Match[str], operands: list[str]) -> None:
    bits, left, right = int(found[2] or 64), _register(operands[0]), _operand(operands[1])
    if _NUMBER.match(operands[2]):
        distance = _number(operands[2])
        if isinstance(right, int) and right >= 1 << 31:
            right -= 1 << 32
        assembler.write(Branch(CONDITIONS[found[1]], bits, left, right, distance))
    else:
        assembler.jump_if(found[1], left, right, _name(operands[2]), bits)


def _write_call(assembler: Assembler, _: re.Match[str], operands: list[str]) -> None:
    kind, local, *_rest = [*operands[0].split(None, 1), ""]
    if kind == "local" and local:
        target = local.strip()
        if _NUMBER.match(target):
            assembler.write(CallLocal(_number(target)))
        else:
            assembler.call_local(_name(target))
        return
    callee = local.strip() if kind == "helper" and local else operands[0]
    if _REGISTER.match(callee):
        assembler.write_slot(_CALLX | _register(callee).value << 8)
    elif _NUMBER.match(callee):
        assembler.write(CallHelper(_number(callee)))
    else:
        assembler.call(callee)


def _write_lock(assembler: Assembler, _: re.Match[str], operands: list[str]) -> None:
    words = operands[0].split(None, 2)
    fetch = words[:1] == ["fetch"]
    found = _ATOMIC.fullmatch(" ".join(words[1:] if fetch else words))
    if found is None:
        raise AssemblyError(f"not an atomic operation: {operands[0]}: write lock fetch add [%r1+8], %r2")
    base, offset = _memory(found[3])
    size = 4 if found[2] == "32" else 8
    assembler.atomic(found[1], base, offset, _register(operands[1]), size, fetch=fetch)


def _name(text: str) -> str:
    if not _NAME.match(text):
        raise AssemblyError(f"not a label: {text}")
    return text


def _form(pattern: str, operands: int, write: Callable[[Assembler, re.Match[str], list[str]], None]) -> _Form:
    return _Form(re.compile(pattern), operands, write)


_CALLX: Final = 0x8D
_ATOMIC: Final = re.compile(f"({'|'.join(ATOMIC_OPERATORS)})(32|64)? *(.*)")
_FORMS: Final = (
    _form("exit", 0, _write_exit),
    _form("lddw", 2, _write_wide),
    _form(f"ldx(s?){_SIZE}", 2, _write_load),
    _form(f"st(x?){_SIZE}", 2, _write_store),
    _form("neg(32|64)?", 1, _write_negate),
    _form("movsx(8|16|32(?=64))(32|64)", 2, _write_sign_extend),
    _form(f"({'|'.join(BYTE_ORDERS)}|bswap)(16|32|64)", 1, _write_swap),
    _form(f"({'|'.join(OPERATORS)})(32|64)?", 2, _write_alu),
    _form("ja(32)?", 1, _write_jump),
    _form(f"({'|'.join(CONDITIONS)})(32|64)?", 3, _write_branch),
    _form("call", 1, _write_call),
    _form("lock", 2, _write_lock),
    _form(r"\.slot", 1, _write_slot),
)
