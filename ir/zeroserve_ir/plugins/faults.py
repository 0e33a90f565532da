"""Why an ELF file is no plugin: faults with their cures, and their form as diagnostics.

Raised by `objects` and `linking` as PluginError; read by the command line and the operator.
"""

from __future__ import annotations

from enum import Enum

from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.plugins.modules import FUNCTIONS_MAX, HEAP_BYTES_MAX, NAME_LENGTH_MAX, OBJECT_BYTES_MAX
from zeroserve_ir.program import abi
from zeroserve_ir.sources import NOWHERE, Origin, Span

_BUILD = "compile with `zeroserve plugin build`"


class Fault(Enum):
    """What a plugin's file may be wrong in: (message, cure)."""

    FILE_SIZE = ("file is too large", f"strip it (llvm-strip -g): {OBJECT_BYTES_MAX} bytes at most")
    NOT_ELF = ("not a readable ELF file", _BUILD)
    WRONG_MACHINE = ("not a little-endian 64-bit eBPF object", f"{_BUILD} (clang -target bpfel)")
    NOT_RELOCATABLE = ("not an object file", "give the .o of the compiler, not something linked")
    TOO_MANY_PARTS = ("too many sections, symbols or relocations", "split the plugin")
    SECTION_BOUNDS = ("section lies outside the file", _BUILD)
    SYMBOL_BOUNDS = ("symbol lies outside its section", _BUILD)
    FUNCTION_OVERLAP = ("two functions overlap", _BUILD)
    NO_FUNCTIONS = (
        "no function is exported",
        'ZS_FUNCTION in C, zeroserve::function! in Rust, export … linksection("function") in Zig exports one',
    )
    TOO_MANY_FUNCTIONS = ("too many functions are exported", f"{FUNCTIONS_MAX} at most")
    FUNCTION_NAME = (
        "exported function has an unusable name",
        f"letters, digits and underscores, {NAME_LENGTH_MAX} at most, each name once",
    )
    UNDEFINED_SYMBOL = (
        "symbol is used and not defined",
        "define it in the plugin; helpers are those of zeroserve.h, and memcpy and its like need that header",
    )
    CALL_TARGET = ("call leads to no function", _BUILD)
    FUNCTION_POINTER = (
        "address of a function is taken",
        "call functions by name; the sandbox has no calls through registers",
    )
    RELOCATION_KIND = ("relocation is not supported", f"{_BUILD}; kernel maps and kfuncs do not exist here")
    RELOCATION_PLACE = ("relocation does not fit its instruction", _BUILD)
    ADDRESS_BOUNDS = ("address lies outside its section", _BUILD)
    COMMON_SYMBOL = ("variable has no section yet", "compile with -fno-common")
    ROUTE_HELPER = ("helper is not for plugins", "see `called by` of the helpers in docs/abi.md")
    HEAP_SIZE = (
        "data does not fit into the heap",
        f"{HEAP_BYTES_MAX} bytes for .rodata, .data and .bss together",
    )
    CODE_SIZE = ("program is too long", f"split it: {abi.INSTRUCTIONS_MAX} slots at most")
    LOADER_DIED = ("file could not be read within the loader's limits", _BUILD)


class PluginError(Exception):
    """A file that is no plugin: the fault, and what was found.

    What was found are names of the file's, which go to terminals and Events: printable here.
    """

    def __init__(self, fault: Fault, found: str) -> None:
        self.fault = fault
        self.found = make_printable(found)
        super().__init__(f"{fault.value[0]}: {self.found}")

    def diagnose(self, file: str = "", origin: Origin | None = None) -> Diagnostic:
        """Return the fault as a diagnostic."""
        message, cure = self.fault.value
        return Diagnostic(
            code=Code.ZS0603,
            message=f"{message}: {self.found}",
            span=Span(file, 1, 1, 1) if file else NOWHERE,
            origin=origin,
            label=message,
            help=cure,
        )


def make_printable(text: str) -> str:
    """Return a text without what would move a terminal's cursor or end a line of a log."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "\ufffd" for char in text)
