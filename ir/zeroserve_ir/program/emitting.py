"""Symbolic code of a route program: what lowering writes before it becomes instructions.

In: operations with labels, from lowering. Out: eBPF by the assembler, without code that nothing reaches.
Registers: r6 context, r7 path length while paths are compared, r8 place in columns, r9 constants;
r1 to r5 are scratch.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from zeroserve_ir.program import abi
from zeroserve_ir.program.assembling import Assembler
from zeroserve_ir.program.folding import find_idle_folds
from zeroserve_ir.program.isa import R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, Register
from zeroserve_ir.program.paths import ComparedPath, PathConstants
from zeroserve_ir.sources import Span

Operand = Register | int | str


class _Operation(NamedTuple):
    """One instruction to be written, where it may jump to, and whether control goes on behind it."""

    name: str
    """Method of `Assembler`."""
    operands: tuple[Operand, ...]
    target: str = ""
    falls_through: bool = True


@dataclass(frozen=True, slots=True)
class AssembledProgram:
    """Byte code, and what its readers need to know of it."""

    code: bytes
    lines: tuple[tuple[int, Span], ...]
    """(instruction, where it comes from), ascending."""
    reads_folded_path: bool
    """Whether it counts on the folded path in the context at its entries."""
    constants_bytes: int
    """How much of the constants it reads; what lies behind is of code that nothing reaches."""


@dataclass(slots=True)
class Emitter:
    """Collects operations, labels and constants of one program."""

    operations: list[_Operation] = field(default_factory=list)
    spans: list[Span | None] = field(default_factory=list)
    """Where each operation comes from."""
    labels: dict[str, int] = field(default_factory=dict)
    constants: bytearray = field(default_factory=bytearray)
    reads: dict[int, int] = field(default_factory=dict)
    """Where the constants end that an operation reads."""
    count: int = 0
    span: Span | None = None

    def new_label(self) -> str:
        """Return a label not used before."""
        self.count += 1
        return f"L{self.count}"

    def place(self, label: str) -> None:
        """Bind a label to the next operation."""
        assert label not in self.labels, label
        self.labels[label] = len(self.operations)

    def begin(self) -> None:
        """Write what every entry needs: context and constants in their registers."""
        self._add("mov", R6, R1)
        self._add("load_constants", R9, 0)

    def jump(self, label: str) -> None:
        """Go to a label."""
        self._add("jump", label, target=label, falls_through=False)

    def jump_if_entry(self, entry: int, label: str) -> None:
        """Go to a label when the program was called for an entry."""
        self._compare("jeq", R2, entry, label)

    def jump_unless_entry(self, entry: int, label: str) -> None:
        """Go to a label when the program was called for another entry."""
        self._compare("jne", R2, entry, label)

    def jump_if_result(self, value: int, label: str) -> None:
        """Go to a label when r0 has a value."""
        self._compare("jeq", R0, value, label)

    def jump_if_zero(self, label: str) -> None:
        """Go to a label when r0 is zero."""
        self._compare("jeq", R0, 0, label)

    def jump_unless_zero(self, label: str) -> None:
        """Go to a label when r0 is not zero."""
        self._compare("jne", R0, 0, label)

    def call(self, helper: str) -> None:
        """Call a helper without arguments."""
        self._add("call", helper)

    def call_row(self, helper: str, row: int) -> None:
        """Call a helper with a table row."""
        self._add("mov", R1, row)
        self._add("call", helper)

    def call_constant(self, helper: str, value: int) -> None:
        """Call a helper with a 64-bit number kept in the constants."""
        offset = self.add_constants(struct.pack("<Q", value))
        self._load_constant(R1, offset)
        self._add("call", helper)

    def load_context(self, name: abi.Field) -> None:
        """Load a context field of four bytes to r0."""
        self._add("load", R0, R6, name.offset, 4)

    def compare_path(self, path: ComparedPath, constants: PathConstants, fail: str) -> None:
        """Go to `fail` unless the path's beginning fits. Of the folded one, `fold_path` has been called.

        Words first: a path that does not fit mostly begins otherwise, whatever its length.
        """
        offset = self.add_constants(constants.encode())
        self._compare_words(path.content, offset, constants, fail)
        self._add("load", R7, R6, path.length.offset, 4)
        self._load_constant(R2, offset)
        self._compare("jgt", R7, R2, fail)

    def compare_folded_end(self, constants: PathConstants, fail: str) -> None:
        """Go to `fail` unless the end of the folded path fits; `fold_path` has been called."""
        self._compare_words(abi.Field.FOLDED_END, self.add_constants(constants.encode()), constants, fail)

    def _compare_words(self, content: abi.Field, offset: int, constants: PathConstants, fail: str) -> None:
        for word in range(len(constants.words)):
            self._compare_word(content.offset + 8 * word, offset + 8 + 16 * word, fail)

    def _compare_word(self, path_offset: int, offset: int, fail: str) -> None:
        self._add("load", R3, R6, path_offset, 8)
        self._load_constant(R4, offset)
        self._load_constant(R5, offset + 8)
        self._add("alu", "and", R3, R5)
        self._compare("jne", R3, R4, fail)

    def hash_path(self, path: ComparedPath, offsets: Sequence[int], bits: int) -> None:
        """Set r2 to the highest bits of the sum of the path's words, each under a mask and by a factor."""
        for word, offset in enumerate(offsets):
            product = R3 if word else R2
            self._add("load", product, R6, path.content.offset + 8 * word, 8)
            self._load_constant(R4, offset)
            self._add("alu", "and", product, R4)
            self._load_constant(R4, offset + 8)
            self._add("alu", "mul", product, R4)
            if word:
                self._add("alu", "add", R2, R3)
        self._add("alu", "rsh", R2, 64 - bits)

    def look_up(self, offset: int, rows: int) -> None:
        """Set r0 to the row that a byte at `offset` + r2 names, and r2 to where a column at 0 has it.

        The columns end where the constants do.
        """
        self.reads[len(self.operations)] = len(self.constants)
        self._add("alu", "add", R2, R9)
        self._add("load", R0, R2, offset, 1)
        self._add("alu", "and", R0, rows - 1)
        self._add("mov", R2, R0)
        self._add("alu", "lsh", R2, 3)
        self._add("alu", "add", R2, R9)

    def compare_row(self, path: ComparedPath, columns: Sequence[int], fail: str) -> None:
        """Go to `fail` unless the path fits r2's row; columns: length, words, masks by turns."""
        for word, (value, mask) in enumerate(zip(columns[1::2], columns[2::2], strict=True)):
            self._add("load", R3, R6, path.content.offset + 8 * word, 8)
            self._add("load", R5, R2, mask, 8)
            self._add("load", R4, R2, value, 8)
            self._add("alu", "and", R3, R5)
            self._compare("jne", R3, R4, fail)
        self._add("load", R7, R6, path.length.offset, 4)
        self._add("load", R4, R2, columns[0], 8)
        self._compare("jgt", R7, R4, fail)

    def keep_result(self, rows: int) -> None:
        """Keep where columns of four bytes have r0 in r8; `rows` is a power of two above it."""
        self._add("mov", R8, R0)
        self._add("alu", "and", R8, rows - 1)
        self._add("alu", "lsh", R8, 2)

    def add_column(self, values: Sequence[int], rows: int) -> int:
        """Append four bytes for each row; returns the offset."""
        # As in hashing: a masked place may lie three bytes beyond the last row as far as the verifier knows.
        return self.add_constants(struct.pack(f"<{rows}I4x", *values, *[0] * (rows - len(values))))

    def load_of_column(self, register: Register, offset: int, rows: int) -> None:
        """Load what the column has where r8 says."""
        self.reads[len(self.operations)] = offset + 4 * rows + 4
        self._add("load_constants", register, offset)
        self._add("alu", "add", register, R8)
        self._add("load", register, register, 0, 4)

    def reaches_constants(self, size: int) -> bool:
        """Whether the next `size` bytes of constants lie within a load's offset."""
        return len(self.constants) + size < 1 << 15

    def finish_with(self, action: abi.Action, index: int = 0, detail: int = 0) -> None:
        """Return an action."""
        value = abi.encode_action(action, index, detail)
        self._add("load_immediate", R0, value)
        self._exit()

    def finish_with_error(self, status: int) -> None:
        """Return ERROR with a status of the site's own, which is kept in the constants."""
        value = abi.encode_action(abi.Action.ERROR, detail=status)
        self._load_constant(R0, self.add_constants(struct.pack("<Q", value)))
        self._exit()

    def finish_with_result(self) -> None:
        """Return r0 as it is."""
        self._exit()

    def finish_with_index_of_result(self, action: abi.Action, base: int) -> None:
        """Return an action whose index is r0 + base."""
        if base:
            self._add("alu", "add", R0, base)
        self._add("alu", "lsh", R0, 32)
        self._add("alu", "or", R0, int(action))
        self._exit()

    def finish_with_status_of_error(self) -> None:
        """Return ERROR with the status that the error routes were called for."""
        self.load_context(abi.Field.STATUS)
        self._add("alu", "lsh", R0, 8)
        self._add("alu", "or", R0, int(abi.Action.ERROR))
        self._exit()

    def branch_by_result(self, targets: Sequence[str], first: int = 1) -> None:
        """Go to targets[r0 - first] by binary search; r0 lies in range."""
        if len(set(targets)) == 1:
            self.jump(targets[0])
            return
        middle = len(targets) // 2
        upper = self.new_label()
        self._compare("jge", R0, first + middle, upper)
        self.branch_by_result(targets[:middle], first)
        self.place(upper)
        self.branch_by_result(targets[middle:], first + middle)

    def add_constants(self, content: bytes) -> int:
        """Append to the constants; returns the offset, a multiple of eight."""
        offset = len(self.constants)
        self.constants += content.ljust(-(-len(content) // 8) * 8, b"\0")
        return offset

    def assemble(self) -> AssembledProgram:
        """Return the program; raises AssemblyError where a jump reaches too far."""
        code, positions, reads_folded_path = _assemble(tuple(self.operations), tuple(self.labels.items()))
        lines: list[tuple[int, Span]] = []
        for operation, position in positions:
            span = self.spans[operation]
            if span is not None and (not lines or lines[-1][1] is not span):
                lines.append((position, span))
        constants_bytes = max((self.reads.get(operation, 0) for operation, _ in positions), default=0)
        return AssembledProgram(code, tuple(lines), reads_folded_path, constants_bytes)

    def _load_constant(self, register: Register, offset: int) -> None:
        self.reads[len(self.operations)] = offset + 8
        if offset < 1 << 15:
            self._add("load", register, R9, offset, 8)
            return
        self._add("load_constants", register, offset)
        self._add("load", register, register, 0, 8)

    def _compare(self, name: str, left: Register, right: Register | int, label: str) -> None:
        self._add("jump_if", name, left, right, label, target=label)

    def _exit(self) -> None:
        self._add("exit", falls_through=False)

    def _add(self, name: str, *operands: Operand, target: str = "", falls_through: bool = True) -> None:
        self.operations.append(_Operation(name, operands, target, falls_through))
        self.spans.append(self.span)


# Sites of one shape have equal operations: thousands of them are assembled once.
@lru_cache(maxsize=1024)
def _assemble(
    operations: tuple[_Operation, ...], labels: tuple[tuple[str, int], ...]
) -> tuple[bytes, tuple[tuple[int, int], ...], bool]:
    """Return the code, (operation, instruction) for what is in it, and whether it reads the folded path."""
    places = dict(labels)
    names: dict[int, list[str]] = {}
    for label, position in labels:
        names.setdefault(position, []).append(label)
    reachable = _find_reachable(operations, places)
    idle = find_idle_folds(operations, places)
    reachable -= idle.positions
    assembler = Assembler()
    positions: list[tuple[int, int]] = []
    for position, operation in enumerate(operations):
        for label in names.get(position, ()):
            assembler.label(label)
        if position not in reachable or _is_idle_jump(operation, position, reachable, places):
            continue
        positions.append((position, assembler.position))
        getattr(assembler, operation.name)(*operation.operands)
    return assembler.finish(), tuple(positions), idle.at_entry


def _is_idle_jump(
    operation: _Operation, position: int, reachable: set[int], places: Mapping[str, int]
) -> bool:
    if operation.falls_through or not operation.target:
        return False
    target = places[operation.target]
    return target > position and not any(between in reachable for between in range(position + 1, target))


def _find_reachable(operations: Sequence[_Operation], places: Mapping[str, int]) -> set[int]:
    reachable: set[int] = set()
    waiting = [0]
    while waiting:
        position = waiting.pop()
        while position not in reachable:
            reachable.add(position)
            operation = operations[position]
            if operation.target:
                waiting.append(places[operation.target])
            if not operation.falls_through:
                break
            position += 1
    return reachable
