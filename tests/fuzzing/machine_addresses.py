"""Where machine code may read and write, also after mispredicted branches: each address by what made it.

In: assembly of x86-64 as `emit_assembly` gives it, size of the constants, exposure. Out: what is wrong,
line by line. An abstract interpretation of its own, which knows nothing of the verifier or of LLVM. The rule:
a pointer is one of window, constants, helpers' block or machine stack, plus an interval that comes from
loads, masks and sums alone, never from a branch; it may be moved, added to, kept on the stack and handed to a
subprogram, and nothing else. An instruction that is not known is wrong.
"""

import re
from dataclasses import dataclass, field
from enum import Enum, auto

from zeroserve_dataplane.verifier import Exposure
from zeroserve_dataplane.verifier.accesses import MAPPED
from zeroserve_ir.program import abi

GUARD = 1 << 16
RED_ZONE = 128
ROUNDS_MAX = 8
"""So often may what is known at a label shrink; then it is any number."""
_TOKEN = re.compile(r"[^,(]*\([^)]*\)|[^,]+")
_ADDRESS = re.compile(r"(-?\d*)\((?:%(\w+))?(?:,%(\w+)(?:,(\d))?)?\)$")
_SUFFIX_BYTES = {"b": 1, "w": 2, "l": 4, "q": 8}
_NAMED = ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp")
_CLOBBERED = ("rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11")
_ARGUMENTS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")


class Base(Enum):
    """What a value counts from."""

    NUMBER = auto()
    WINDOW = auto()
    CONSTANTS = auto()
    VM = auto()
    HELPER = auto()
    STACK = auto()


@dataclass(frozen=True)
class Held:
    """A base, and the lowest and highest distance from it."""

    base: Base
    low: int
    high: int

    @property
    def is_number(self):
        return self.base is Base.NUMBER


ANY = Held(Base.NUMBER, -(1 << 63), (1 << 64) - 1)
ANY_32 = Held(Base.NUMBER, 0, (1 << 32) - 1)


def _registers():
    names = {}
    for name in _NAMED:
        wide = f"r{name}"
        names |= {wide: (wide, 8), f"e{name}": (wide, 4), name: (wide, 2)}
        names |= {f"{name.removesuffix('x')}l": (wide, 1), f"{name[0]}h": (wide, 1)}
    for number in range(8, 16):
        wide = f"r{number}"
        names |= {wide: (wide, 8), f"{wide}d": (wide, 4), f"{wide}w": (wide, 2), f"{wide}b": (wide, 1)}
    return names


REGISTERS = _registers()


@dataclass
class State:
    """What registers and the machine's stack hold; a place is its distance from the return address."""

    registers: dict
    places: dict

    def copy(self):
        return State(dict(self.registers), dict(self.places))

    def join(self, other, *, widen):
        """Take in what another way here brings; whether that changed anything."""
        before = (dict(self.registers), dict(self.places))
        for mine, theirs in ((self.registers, other.registers), (self.places, other.places)):
            for key in list(mine):
                mine[key] = _join(mine[key], theirs.get(key, ANY), widen=widen)
        return before != (self.registers, self.places)


def _join(left, right, *, widen):
    if left == right:
        return left
    if widen or left.base is not right.base:
        return ANY
    return Held(left.base, min(left.low, right.low), max(left.high, right.high))


@dataclass
class Checker:
    """One module's assembly."""

    constants_bytes: int
    exposure: Exposure
    lines: list = field(default_factory=list)
    labels: dict = field(default_factory=dict)
    states: dict = field(default_factory=dict)
    rounds: dict = field(default_factory=dict)
    waiting: list = field(default_factory=list)
    found: dict = field(default_factory=dict)
    accesses: int = 0

    def check(self, assembly):
        """Return what is wrong."""
        self._read(assembly)
        entry = dict.fromkeys((wide for wide, _ in REGISTERS.values()), ANY)
        entry |= {
            "rdi": Held(Base.WINDOW, 0, 0),
            "rsi": Held(Base.VM, 0, 0),
            "rdx": Held(Base.CONSTANTS, 0, 0),
        }
        self._reach(self.labels["run"], State(entry | {"rsp": Held(Base.STACK, 0, 0)}, {}))
        while self.waiting:
            at = self.waiting.pop()
            self._run(at, self.states[at].copy())
        return [f"{self.lines[at]}: {why}" for at, why in sorted(self.found.items())]

    def _read(self, assembly):
        for raw in assembly.splitlines():
            line = raw.split("#")[0].strip()
            if line.endswith(":"):
                self.labels[line[:-1]] = len(self.lines)
            elif line and not line.startswith("."):
                self.lines.append(line)

    def _reach(self, at, state):
        if at not in self.states:
            self.states[at] = state.copy()
        elif not self.states[at].join(state, widen=self._is_worn(at)):
            return
        self.rounds[at] = self.rounds.get(at, 0) + 1
        self.waiting.append(at)

    def _is_worn(self, at):
        """Whether a loop came by too often; between labels everything follows from what is known at one."""
        return self.rounds[at] > ROUNDS_MAX and at in self.labels.values()

    def _run(self, at, state):
        """Follow one instruction."""
        name, _, rest = self.lines[at].partition("\t")
        while name in {"lock", "rep"}:
            name, _, rest = rest.strip().partition("\t")
        operands = [one.strip() for one in _TOKEN.findall(rest)]
        if name == "jmp":
            self._jump(at, state, operands[0])
            return
        if name == "retq":
            self._return(at, state)
            return
        if name.startswith("j"):
            self._reach(self.labels[operands[0]], state)
        elif name == "callq":
            self._call(at, state, operands[0])
        else:
            _Step(self, at, state).follow(name, operands)
        self._reach(at + 1, state)

    def _jump(self, at, state, target):
        if not target.startswith(".L"):
            self._hand_over(at, state, target, returned=0)
        else:
            self._reach(self.labels[target], state)

    def _return(self, at, state):
        if not state.registers["rax"].is_number:
            self.note(at, "a pointer is returned")
        if state.registers["rsp"] != Held(Base.STACK, 0, 0):
            self.note(at, "the stack is not where it was")

    def _call(self, at, state, target):
        if target.startswith("*"):
            _Step(self, at, state).call_helper(target[1:])
        else:
            self._hand_over(at, state, target, returned=8)
        for register in _CLOBBERED:
            state.registers[register] = ANY
        top = state.registers["rsp"].low
        state.places = {place: held for place, held in state.places.items() if place >= top}

    def _hand_over(self, at, state, target, returned):
        """Enter a subprogram: its stack counts from its own return address."""
        top = state.registers["rsp"]
        if top.base is not Base.STACK or top.low != top.high:
            self.note(at, "a call on a stack that is not known")
            return
        moved = top.low - returned
        places = {place - moved: held for place, held in state.places.items() if place >= top.low}
        self._reach(self.labels[target], State(state.registers | {"rsp": Held(Base.STACK, 0, 0)}, places))

    def note(self, at, why):
        """Remember what is wrong with a line."""
        self.found.setdefault(at, why)


@dataclass
class _Step:
    """One instruction that neither jumps nor ends."""

    checker: Checker
    at: int
    state: State

    def follow(self, name, operands):
        """Do to the state what the instruction does."""
        stem, size = self._split(name, operands)
        if stem in {"push", "pop"}:
            self._move_stack(stem, operands[0])
        elif stem in {"cmp", "test"} or (stem == "bt" and operands[1].startswith("%")):
            for operand in operands:
                self._number(operand, size)
        elif stem == "lea":
            self._set(operands[1], size, self._address(operands[0]))
        elif stem in {"mov", "movabs"}:
            self._set(operands[1], size, self._get(operands[0], size))
        elif match := re.fullmatch(r"mov([sz])([bwl])([wlq])", name):
            self._extend(*match.groups(), operands)
        elif stem in _DOUBLING:
            self.state.registers[_DOUBLING[stem]] = ANY if size == 8 else ANY_32
        elif name.startswith("cmov"):
            held = [self._number(operand, size) for operand in operands]
            self._set(operands[1], size, _join(*held, widen=False))
        elif name.startswith("set"):
            self._set(operands[0], 1, Held(Base.NUMBER, 0, 1))
        elif stem in {"mul", "div", "idiv"} or (stem == "imul" and len(operands) == 1):
            self._number(operands[0], size)
            self.state.registers |= dict.fromkeys(("rax", "rdx"), ANY if size == 8 else ANY_32)
        elif stem in {"xchg", "xadd", "cmpxchg"}:
            self._exchange(stem, operands, size)
        elif _CALCULATING.fullmatch(stem):
            self._calculate(stem, operands, size)
        else:
            self.checker.note(self.at, "an instruction that is not known")

    def _split(self, name, operands):
        if name in _DOUBLING:
            return name, 4 if name in {"cwtl", "cltd"} else 8
        for operand in operands[::-1]:
            if operand.startswith("%") and not name.startswith(("movz", "movs", "cmov", "set")):
                size = REGISTERS[operand[1:]][1]
                if name[-1] in _SUFFIX_BYTES and (_SUFFIX_BYTES[name[-1]] == size):
                    return name[:-1], size
        if name.startswith("cmov"):
            return name, REGISTERS[operands[1][1:]][1]
        return (name[:-1], _SUFFIX_BYTES[name[-1]]) if name[-1] in _SUFFIX_BYTES else (name, 8)

    def call_helper(self, place):
        """A helper by its place in the block; it gets the block and numbers."""
        if self._get(place, 8).base is not Base.HELPER:
            self.checker.note(self.at, "a call that is no helper's")
        if self.state.registers["rdi"] != Held(Base.VM, 0, 0):
            self.checker.note(self.at, "a helper without its block")
        if not all(self.state.registers[register].is_number for register in _ARGUMENTS[1:]):
            self.checker.note(self.at, "a helper is given a pointer")

    def _move_stack(self, stem, operand):
        top = self.state.registers["rsp"]
        if stem == "push":
            self.state.registers["rsp"] = Held(Base.STACK, top.low - 8, top.high - 8)
            self.state.places[top.low - 8] = self._get(operand, 8)
            return
        self._set(operand, 8, self.state.places.get(top.low, ANY))
        self.state.registers["rsp"] = Held(Base.STACK, top.low + 8, top.high + 8)

    def _extend(self, kind, source, target, operands):
        size = _SUFFIX_BYTES[source]
        held = self._number(operands[0], size)
        bits, wide = 8 * size, _SUFFIX_BYTES[target]
        span = (0, (1 << bits) - 1) if kind == "z" else (-(1 << bits - 1), (1 << bits - 1) - 1)
        if not span[0] <= held.low <= held.high <= span[1]:
            held = Held(Base.NUMBER, *span)
        self._set(operands[1], wide, held)

    def _exchange(self, stem, operands, size):
        given, place = self._number(operands[0], size), operands[1]
        self._get(place, size)
        self._set(place, size, given)
        self._set(operands[0] if stem != "cmpxchg" else _AX[size], size, ANY)

    def _calculate(self, stem, operands, size):
        """Two or three operands, the last one changed; what is not known may give anything."""
        target = operands[-1]
        if stem == "imul" and len(operands) == 3:
            left, right = self._number(operands[1], size), self._number(operands[0], size)
        elif len(operands) == 2:
            if stem in {"xor", "sub"} and operands[0] == target:
                self._set(target, size, Held(Base.NUMBER, 0, 0))
                return
            left, right = self._get(target, size), self._get(operands[0], size)
        else:
            left, right = self._get(target, size), Held(Base.NUMBER, 1, 1)
        self._set(target, size, self._result(stem, left, right, size))

    def _result(self, stem, left, right, size):
        if stem == "inc":
            stem = "add"
        elif stem == "dec":
            stem = "sub"
        if left.is_number and right.is_number:
            held = _count(stem, _cut(left, size), _cut(right, size), size)
            return held if held is not None else ANY
        if size == 8 and stem == "add" and (left.is_number or right.is_number):
            return self._shift(left, right)
        if size == 8 and stem == "sub" and right.is_number:
            return self._shift(left, Held(Base.NUMBER, -right.high, -right.low))
        self.checker.note(self.at, "arithmetic with a pointer")
        return ANY

    @staticmethod
    def _shift(left, right):
        base = right.base if left.is_number else left.base
        low, high = left.low + right.low, left.high + right.high
        return Held(base, low, high) if base is not Base.NUMBER or _is_signed(low, high) else ANY

    def _number(self, operand, size):
        held = self._get(operand, size)
        if not held.is_number:
            self.checker.note(self.at, "a pointer where a number belongs")
            return ANY
        return _cut(held, size)

    def _get(self, operand, size):
        if operand.startswith("$"):
            number = int(operand[1:], 0)
            return Held(Base.NUMBER, number, number)
        if operand.startswith("%"):
            held = self.state.registers[REGISTERS[operand[1:]][0]]
            is_high = operand.endswith("h")
            if held.is_number:
                return ANY if is_high else _cut(held, size)
            if size < 8:
                self.checker.note(self.at, "a part of a pointer")
                return ANY
            return held
        address = self._touch(operand, size, write=False)
        if address.base is Base.STACK and size == 8:
            return self.state.places.get(address.low, ANY)
        if address.base is Base.STACK and not self._is_number_kept(address.low, size):
            self.checker.note(self.at, "a part of a pointer")
        if address.base is Base.VM and address.low:
            return Held(Base.HELPER, 0, 0)
        return ANY if size == 8 else Held(Base.NUMBER, 0, (1 << 8 * size) - 1)

    def _is_number_kept(self, low, size):
        kept = (self.state.places.get(place, ANY) for place in range(low - 7, low + size))
        return all(held.is_number for held in kept)

    def _set(self, operand, size, held):
        if operand.startswith("%"):
            wide, bytes_of = REGISTERS[operand[1:]]
            self.state.registers[wide] = held if bytes_of == 8 else _cut(held, 4) if bytes_of == 4 else ANY
            return
        address = self._touch(operand, size, write=True)
        if address.base is not Base.STACK:
            if not held.is_number:
                self.checker.note(self.at, "a pointer where programs read")
            return
        for place in range(address.low - 7, address.low + size):
            self.state.places.pop(place, None)
        if size == 8:
            self.state.places[address.low] = held

    def _address(self, operand):
        match = _ADDRESS.match(operand)
        if match is None:
            self.checker.note(self.at, f"an address that is not known: {operand}")
            return ANY
        displacement, base, index, scale = match.groups()
        held = self.state.registers[base] if base else Held(Base.NUMBER, 0, 0)
        number = Held(Base.NUMBER, int(displacement or 0), int(displacement or 0))
        if index:
            more, times = self.state.registers[index], int(scale or 1)
            if not more.is_number and (not held.is_number or times != 1):
                self.checker.note(self.at, "two pointers in an address")
                return ANY
            held = self._shift(held, Held(more.base, more.low * times, more.high * times))
        return self._shift(held, number)

    def _touch(self, operand, size, *, write):
        """Judge an access; return its address."""
        held = self._address(operand)
        self.checker.accesses += 1
        low, high = held.low, held.high + size
        exact = held.low == held.high
        match held.base:
            case Base.WINDOW if self.checker.exposure is not Exposure.CAGED:
                # Nobody recovers it where it faults.
                mapped = any(start <= low and high <= end for start, end in MAPPED)
                fits = exact and not write and mapped
            case Base.WINDOW:
                fits = low >= -GUARD and high <= abi.WINDOW_BYTES + GUARD
            case Base.CONSTANTS:
                fits = not write and low >= 0 and high <= self.checker.constants_bytes
            case Base.VM if self.checker.exposure is not Exposure.DETACHED:
                fits = exact and size == 8 and (low == 0 or (not write and _is_helper(low)))
            case Base.STACK:
                # Above the return address lie arguments.
                fits = exact and (high <= 0 or (low >= 8 and high <= 8 * 8))
                fits = fits and self.state.registers["rsp"].low - RED_ZONE <= low
            case _:
                fits = False
        if not fits:
            place = f"{held.base.name.lower()} {held.low:#x} to {held.high:#x}"
            self.checker.note(self.at, f"{'writes' if write else 'reads'} {size} bytes at {place}")
        return held


def _is_helper(offset):
    number, rest = divmod(offset - abi.VM_HELPERS_OFFSET, 8)
    return rest == 0 and 0 <= number < abi.HELPERS_MAX


def _cut(held, size):
    """The low bytes of a number."""
    if size == 8 or not held.is_number:
        return held
    if held.low == held.high:
        number = held.low & (1 << 8 * size) - 1
        return Held(Base.NUMBER, number, number)
    return held if 0 <= held.low <= held.high < 1 << 8 * size else Held(Base.NUMBER, 0, (1 << 8 * size) - 1)


def _count(stem, left, right, size):
    """Arithmetic of intervals, or None."""
    positive = left.low >= 0 and right.low >= 0
    low = high = None
    match stem:
        case "add":
            low, high = left.low + right.low, left.high + right.high
        case "sub":
            low, high = left.low - right.high, left.high - right.low
        case "and" if left.low >= 0 or right.low >= 0:
            low, high = 0, min(one.high for one in (left, right) if one.low >= 0)
        case "or" | "xor" if positive:
            low, high = 0, (1 << max(left.high, right.high).bit_length()) - 1
        case "imul" if positive:
            low, high = left.low * right.low, left.high * right.high
        case "shl" if positive and right.low == right.high < 8 * size:
            low, high = left.low << right.low, left.high << right.high
        case "shr" if right.low == right.high and 0 < right.low < 8 * size:
            known = left.high if left.low >= 0 else (1 << 8 * size) - 1
            low, high = 0, known >> right.low
    if low is None or high is None:
        return None
    fits = _is_signed(low, high) if size == 8 else 0 <= low <= high < 1 << 8 * size
    return Held(Base.NUMBER, low, high) if fits else None


def _is_signed(low, high):
    return -(1 << 63) <= low <= high < 1 << 63


_CALCULATING = re.compile("add|sub|and|or|xor|imul|sh[lr]d?|sar|neg|not|inc|dec|adc|sbb|ro[lr]|bswap")
_DOUBLING = {"cbtw": "rax", "cwtl": "rax", "cltq": "rax", "cwtd": "rdx", "cltd": "rdx", "cqto": "rdx"}
_AX = {1: "%al", 2: "%ax", 4: "%eax", 8: "%rax"}
