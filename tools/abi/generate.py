"""Generates what is derived from the program ABI (`make gen`).

In: `zeroserve_ir.program.abi`. Out: the engine's src/program/abi.rs, what plugins in C, Rust and Zig
compile against (`sdk`), and docs/abi.md, written below the directory given as the only argument (default:
the repository), so that the drift test can compare a fresh run with what is committed.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import sdk
from zeroserve_ir.program import abi
from zeroserve_ir.program.abi_plugins import ARGUMENT_NAMES

ROOT = Path(__file__).resolve().parents[2]
CONSTANTS = (
    "ABI_VERSION",
    "ABI_OLDEST",
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
    "LOAD_OF_WINDOW",
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
    "FOLDED_BYTES_MAX",
    "FOLDED_END_BYTES",
)
ENUMS = (
    abi.Method,
    abi.Action,
    abi.Operation,
    abi.Verdict,
    abi.RequestPart,
    abi.JsonKind,
    abi.Codec,
    abi.Digest,
    abi.KeyKind,
)


def main(out: Path) -> None:
    """Generate everything below `out`."""
    write(out / "dataplane/engine/src/program/abi.rs", render_rust())
    write(out / "cli/zeroserve_cli/sdk/c/zeroserve_abi.h", sdk.render_c())
    write(out / "cli/zeroserve_cli/sdk/rust/src/abi.rs", sdk.render_rust())
    write(out / "cli/zeroserve_cli/sdk/zig/zeroserve.zig", sdk.render_zig())
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
        f"pub const DIGEST_BYTES: u64 = {abi.DIGEST_BYTES};",
        f"pub const LENGTH_FUEL_MAX: i64 = {abi.LENGTH_FUEL_MAX};",
        *(f"pub const CAPABILITY_{one.name}: u64 = {one.value};" for one in abi.Capability),
        "/// Row of the helper table. Plugins may call what is `for_plugins`, routes what is `for_routes`.",
        "pub struct HelperRow {",
        "    pub number: u32,",
        "    pub name: &'static str,",
        "    /// How many arguments it takes.",
        "    pub arguments: usize,",
        "    /// Bit n: argument n, from 0, is a length.",
        "    pub lengths: u8,",
        "    pub fuel: i64,",
        "    /// 0: lengths cost nothing.",
        "    pub bytes_per_fuel: u64,",
        "    pub for_routes: bool,",
        "    pub for_plugins: bool,",
        "    /// Bit that a plugin must be granted, or 0.",
        "    pub capability: u64,",
        "}",
        "/// Every helper.",
        "pub const HELPERS: &[HelperRow] = &[",
        *(rust_row(helper) for helper in abi.HELPERS),
        "];",
        "",
    ]
    return "\n".join(lines)


def rust_row(helper: abi.Helper) -> str:
    """Return a helper's row of the Rust table."""
    lengths = sum(1 << n for n, one in enumerate(helper.arguments) if one is abi.Argument.LENGTH)
    routes = "false" if helper.use is abi.Use.PLUGIN else "true"
    plugins = "false" if helper.use is abi.Use.ROUTE else "true"
    return (
        f'HelperRow {{ number: {helper.number}, name: "{helper.name}", arguments: {len(helper.arguments)}, '
        f"lengths: {lengths}, fuel: {helper.fuel}, bytes_per_fuel: {helper.bytes_per_fuel}, "
        f"for_routes: {routes}, for_plugins: {plugins}, capability: {int(helper.capability or 0)} }},"
    )


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
    lines += [
        "",
        "## Capability",
        "",
        (abi.Capability.__doc__ or "").strip(),
        "",
        "| name | bit |",
        "|---|---|",
    ]
    lines += [f"| {one.name} | {one.value} |" for one in abi.Capability]
    lines += [
        "",
        "## Helpers",
        "",
        "Fuel with `B`: and one for so many bytes of all its lengths. What a helper gives beyond the room",
        "is charged as a copy, a fuel for 16 bytes; JSON text that it writes, a query or cookies that it",
        "searches, a fuel for a byte; members that `read_json_key` passes, four each; names of a JSON",
        "pointer, 64 each; letters of `format_time`, 16 each; what `call_function`",
        "may have to undo, and an answer that is adopted, as copies. Called by: routes, plugins, or both;",
        "plugins need the capability that stands there.",
        "",
        "| number | name | arguments | fuel | called by | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for helper in abi.HELPERS:
        names = iter(ARGUMENT_NAMES.get(helper.name, "").split())
        arguments = ", ".join(_name_argument(argument, names) for argument in helper.arguments)
        per_byte = "B" if helper.bytes_per_fuel == 1 else f"1/{helper.bytes_per_fuel} B"
        fuel = f"{helper.fuel} + {per_byte}" if helper.bytes_per_fuel else f"{helper.fuel}"
        granted = f" ({helper.capability.name})" if helper.capability else ""
        caller = f"{helper.use.value}{granted}"
        lines.append(
            f"| {helper.number} | {helper.name} | {arguments} | {fuel} | {caller} | {helper.meaning} |"
        )
    return "\n".join([*lines, ""])


def _name_argument(argument: abi.Argument, names: Iterator[str]) -> str:
    """Return an argument with its name, where it has one; a length belongs to what stands before it."""
    name = "" if argument is abi.Argument.LENGTH else next(names, "")
    return f"{name}: {argument.value}" if name else argument.value


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
