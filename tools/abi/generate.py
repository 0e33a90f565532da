"""Generates what is derived from the program ABI (`make gen`).

In: `zeroserve_ir.program.abi`. Out: the engine's src/program/abi.rs, include/zeroserve_program.h for people
who write programs in C, and docs/abi.md, written below the directory given as the only argument (default:
the repository), so that the drift test can compare a fresh run with what is committed.
"""

import subprocess
import sys
from pathlib import Path

from zeroserve_ir.program import abi

ROOT = Path(__file__).resolve().parents[2]
CONSTANTS = (
    "ABI_VERSION",
    "CONTEXT",
    "CONTEXT_BYTES",
    "STACK",
    "FRAME_BYTES",
    "CALL_DEPTH_MAX",
    "STACK_TOP",
    "HEAP",
    "HEAP_BYTES",
    "CONSTANTS",
    "WINDOW_BYTES",
    "INSTRUCTIONS_MAX",
    "CONSTANTS_BYTES_MAX",
    "TABLE_ROWS_MAX",
    "FUEL_DEFAULT",
    "TRAP_FUEL",
    "HELPERS_MAX",
    "VM_FUEL_OFFSET",
    "VM_HELPERS_OFFSET",
    "PATH_BYTES_MAX",
    "OVERREAD_BYTES",
)
ENUMS = (abi.Method, abi.Action, abi.Operation)


def main(out: Path) -> None:
    """Generate everything below `out`."""
    write(out / "dataplane/engine/src/program/abi.rs", render_rust())
    write(out / "dataplane/engine/include/zeroserve_program.h", render_header())
    write(out / "docs/abi.md", render_document())


def write(path: Path, text: str) -> None:
    """Write one file, with its directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if path.suffix == ".rs":
        subprocess.run(["rustfmt", "--edition", "2024", str(path)], check=True)


def render_rust() -> str:
    """Return the engine's constants and helper table."""
    lines = [
        "//! Generated from ir/zeroserve_ir/program/abi.py by `make gen`; not edited.",
        "#![allow(dead_code, clippy::unreadable_literal)]",
        "",
    ]
    for name in CONSTANTS:
        value = getattr(abi, name)
        kind = "i64" if value < 0 else "u64"
        lines.append(f"pub const {name}: {kind} = {value if value < 0 else hex(value)};")
    for field in abi.Field:
        lines.append(f"pub const FIELD_{field.name}: usize = {field.offset};")
    for kind in ENUMS:
        for member in kind:
            lines.append(f"pub const {kind.__name__.upper()}_{member.name}: u64 = {member.value};")
    for helper in abi.HELPERS:
        lines.append(f"/// {helper.meaning}.")
        lines.append(f"pub const HELPER_{helper.name.upper()}: u32 = {helper.number};")
    lines += [
        "/// (number, name, arguments that it takes, fuel) of every helper, ascending.",
        "pub const HELPERS: &[(u32, &str, usize, i64)] = &[",
        *(f'({h.number}, "{h.name}", {len(h.arguments)}, {h.fuel}),' for h in abi.HELPERS),
        "];",
        "",
    ]
    return "\n".join(lines)


def render_header() -> str:
    """Return the C header: context layout, actions and helpers as BPF calls."""
    lines = [
        "/* Generated from ir/zeroserve_ir/program/abi.py by `make gen`; not edited.",
        " * For programs built with `clang -target bpf -O2`. Pointers are guest addresses. */",
        "#pragma once",
        "typedef unsigned char u8;",
        "typedef unsigned int u32;",
        "typedef unsigned long long u64;",
        "",
    ]
    lines += [f"#define ZS_{name} {getattr(abi, name)}LL" for name in CONSTANTS]
    lines += [f"#define ZS_FIELD_{field.name} {field.offset}" for field in abi.Field]
    for kind in ENUMS:
        lines += [f"#define ZS_{kind.__name__.upper()}_{member.name} {member.value}" for member in kind]
    lines += [
        "",
        "#define ZS_RETURN(action, index, detail) ((u64)(action) | (u64)(detail) << 8 | (u64)(index) << 32)",
    ]
    for helper in abi.HELPERS:
        arguments = ", ".join(c_type(argument) for argument in helper.arguments) or "void"
        lines.append(f"/* {helper.meaning} */")
        lines.append(f"static u64 (*const zs_{helper.name})({arguments}) = (void *){helper.number};")
    return "\n".join([*lines, ""])


def c_type(argument: abi.Argument) -> str:
    """Return the C type of a helper's argument."""
    return {abi.Argument.READ: "const void *", abi.Argument.WRITE: "void *"}.get(argument, "u64")


def render_document() -> str:
    """Return the reference page."""
    lines = ["# Program ABI", "", "Generated from `ir/zeroserve_ir/program/abi.py` by `make gen`.", ""]
    lines += [
        "```text",
        (abi.__doc__ or "").strip(),
        "```",
        "",
        "## Constants",
        "",
        "| name | value |",
        "|---|---|",
    ]
    lines += [f"| {name} | {getattr(abi, name):#x} |" for name in CONSTANTS]
    lines += ["", "## Context", "", "| field | offset | bytes |", "|---|---|---|"]
    lines += [f"| {field.name} | {field.value[0]} | {field.value[1]} |" for field in abi.Field]
    for kind in ENUMS:
        lines += [
            "",
            f"## {kind.__name__}",
            "",
            (kind.__doc__ or "").strip(),
            "",
            "| name | value |",
            "|---|---|",
        ]
        lines += [f"| {member.name} | {member.value} |" for member in kind]
    lines += ["", "## Helpers", "", "| number | name | arguments | fuel | meaning |", "|---|---|---|---|---|"]
    for helper in abi.HELPERS:
        arguments = ", ".join(argument.value for argument in helper.arguments)
        lines.append(f"| {helper.number} | {helper.name} | {arguments} | {helper.fuel} | {helper.meaning} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
