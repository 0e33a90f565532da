"""Renders what authors of plugins compile against, from `zeroserve_ir.program.abi`: C, Rust and Zig."""

from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path

from zeroserve_ir.program import abi
from zeroserve_ir.program.abi_plugins import ARGUMENT_NAMES

SDK = Path(__file__).resolve().parents[2] / "cli/zeroserve_cli/sdk"
NOTICE = "Generated from ir/zeroserve_ir/program/abi.py by `make gen`; not edited."
ENUMS: tuple[type[IntEnum], ...] = (
    abi.Method,
    abi.RequestPart,
    abi.JsonKind,
    abi.Codec,
    abi.Digest,
    abi.KeyKind,
)
_C_TYPES = {
    abi.Argument.READ: "const void *",
    abi.Argument.WRITE: "void *",
    abi.Argument.DIGEST: "void *",
}


def list_helpers() -> list[abi.Helper]:
    """Return the helpers that a plugin may call, by number."""
    found = (helper for helper in abi.HELPERS if helper.use is not abi.Use.ROUTE)
    return sorted(found, key=lambda helper: helper.number)


def _list_fields(line: str) -> list[str]:
    """Return a line for each field of the context that plugins see, its name put in."""
    return [line.format(field.name.lower()) for field in abi.Field if field.value[1] == 4]


def _list_constants(line: str) -> list[str]:
    """Return a line for each constant, its name and value put in, and an empty one after each group."""
    lines = []
    for kind in ENUMS:
        lines += [line.format(_prefix(kind) + member.name, member.value) for member in kind]
        lines.append("")
    return lines


def render_c() -> str:
    """Return zeroserve_abi.h."""
    lines = [f"/* {NOTICE} */", "#pragma once", f"#define ZS_ABI_VERSION {abi.ABI_VERSION}", ""]
    lines += ["struct zs_context {"]
    lines += _list_fields("    unsigned int {};")
    lines += ["};", ""]
    lines += _list_constants("enum {{ ZS_{} = {} }};")
    for helper in list_helpers():
        arguments = ", ".join(_declare_c(helper))
        lines += [
            f"/* {helper.meaning}{_granted(helper)} */",
            f"static unsigned long long (*const zs_{helper.name})({arguments or 'void'}) = "
            f"(void *){helper.number};",
        ]
    return "\n".join([*lines, ""])


def render_rust() -> str:
    """Return src/abi.rs of the crate: each helper a safe function, memory as slices."""
    lines = [f"//! {NOTICE}", ""]
    lines += ["/// Where a function finds what it was called for.", "#[repr(C)]", "pub struct Context {"]
    lines += _list_fields("    pub {}: u32,")
    lines += ["}", ""]
    lines += _list_constants("pub const {}: u64 = {};")
    for helper in list_helpers():
        taken, given, types = _spell(helper, _RUST)
        lines += [
            f"/// {_sentence(helper)}",
            "#[inline(always)]",
            f"pub fn {helper.name}({taken}) -> u64 {{",
            f'    type Helper = extern "C" fn({types}) -> u64;',
            "    // SAFETY: the number is the helper's address in the sandbox; slices lie in mapped memory.",
            f"    let helper: Helper = unsafe {{ core::mem::transmute({helper.number}usize) }};",
            f"    helper({given})",
            "}",
            "",
        ]
    return "\n".join(lines)


def render_zig() -> str:
    """Return zeroserve.zig: what is written by hand, then the ABI."""
    lines = [(SDK / "zig/head.zig").read_text().rstrip(), "", f"// {NOTICE}", ""]
    lines += ["/// Where a function finds what it was called for.", "pub const Context = extern struct {"]
    lines += _list_fields("    {}: u32,")
    lines += ["};", ""]
    lines += _list_constants("pub const {}: u64 = {};")
    for helper in list_helpers():
        taken, given, types = _spell(helper, _ZIG)
        lines += [
            f"/// {_sentence(helper)}",
            f"pub inline fn {helper.name}({taken}) u64 {{",
            f"    const Helper = *align(1) const fn ({types}) callconv(.c) u64;",
            f"    const helper: Helper = @ptrFromInt({helper.number});",
            f"    return helper({given});",
            "}",
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


_RUST = {
    abi.Argument.READ: ("&[u8]", ("{0}.as_ptr()", "{0}.len() as u64"), ("*const u8", "u64")),
    abi.Argument.WRITE: ("&mut [u8]", ("{0}.as_mut_ptr()", "{0}.len() as u64"), ("*mut u8", "u64")),
    abi.Argument.DIGEST: ("&mut [u8; 32]", ("{0}.as_mut_ptr()",), ("*mut u8",)),
    abi.Argument.SCALAR: ("u64", ("{0}",), ("u64",)),
}
_ZIG = {
    abi.Argument.READ: ("[]const u8", ("{0}.ptr", "{0}.len"), ("[*]const u8", "u64")),
    abi.Argument.WRITE: ("[]u8", ("{0}.ptr", "{0}.len"), ("[*]u8", "u64")),
    abi.Argument.DIGEST: ("*[32]u8", ("{0}",), ("*[32]u8",)),
    abi.Argument.SCALAR: ("u64", ("{0}",), ("u64",)),
}
_Spelling = dict[abi.Argument, tuple[str, tuple[str, ...], tuple[str, ...]]]


def _spell(helper: abi.Helper, spelling: _Spelling) -> tuple[str, str, str]:
    """Return parameters of the function, arguments of the call, and their types."""
    taken, given, types = [], [], []
    kinds = [argument for argument in helper.arguments if argument is not abi.Argument.LENGTH]
    for kind, name in zip(kinds, ARGUMENT_NAMES[helper.name].split(), strict=True):
        outside, inside, passed = spelling[kind]
        taken.append(f"{name}: {outside}")
        given += [one.format(name) for one in inside]
        types += passed
    return ", ".join(taken), ", ".join(given), ", ".join(types)


def _declare_c(helper: abi.Helper) -> Iterator[str]:
    """Yield the parameters of a helper in C."""
    names = iter(ARGUMENT_NAMES[helper.name].split())
    name = ""
    for argument in helper.arguments:
        if argument is abi.Argument.LENGTH:
            yield f"unsigned long long {name}_bytes"
            continue
        name = next(names)
        kind = _C_TYPES.get(argument, "unsigned long long ")
        yield kind + name


def _sentence(helper: abi.Helper) -> str:
    text = helper.meaning + _granted(helper)
    return text[0].upper() + text[1:] + "."


def _prefix(kind: type[IntEnum]) -> str:
    words = {"RequestPart": "REQUEST", "JsonKind": "JSON", "KeyKind": "KEY"}
    return words.get(kind.__name__, kind.__name__.upper()) + "_"


def _granted(helper: abi.Helper) -> str:
    return f"; needs {helper.capability.name.lower()}" if helper.capability and helper.capability.name else ""
