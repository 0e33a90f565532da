"""Compiles plugins on their author's machine: clang where there is one, else the clang that `zig cc` is.

In: C files; Rust and Zig are `building_rust` and `building_zig`. Out: the bytes of an eBPF object. The rule:
what the compiler says reaches the author as it is; nothing here runs inside a cluster.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SDK: Final = Path(__file__).resolve().parent.parent / "sdk"
"""The C header, the Rust crate and the Zig module, as they are installed."""
CLANG_MIN: Final = 18
"""The first with -mcpu=v4: signed division, sign-extending loads, 32-bit jumps."""
OPTIONS: Final = (
    "-mcpu=v4",
    "-O2",
    "-g",
    "-c",
    "-std=gnu2x",
    "-ffreestanding",
    "-fno-builtin",
    "-fno-common",
    "-fno-stack-protector",
    "-fno-jump-tables",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",
)
CURES: Final = (
    ("file not found", "there is no libc: <zeroserve.h> has all that there is"),
    ("undeclared (identifier|function)", "nothing declares it: there is no libc, helpers are in docs/abi.md"),
    ("stack limit", "a frame holds 512 bytes: make larger buffers static, up to 64 KiB"),
    (r"'__\w+ti\d'", "there is no 128-bit multiplication or division"),
    (r"'__\w+[sd]f\w*'", "there is no floating point: count in whole numbers"),
    (r"/lib/std/(posix|Io|os|debug|heap)\b", "std needs an operating system: helpers are in docs/abi.md"),
    (
        "`panic_impl`|can't find crate for `std`",
        "begin the crate with #![no_std] and #![no_main]: there is no std",
    ),
    (
        "cannot find macro `(vec|format|print)",
        "there is no allocation: write into a Room, as plugin new's Text does",
    ),
    ("too many arguments|stack arguments", "a function takes five numbers at most: hand over a structure"),
    ("aggregate returns", "results are one number: let the caller give a pointer to fill"),
)
"""What compilers say of what eBPF does not have (a pattern), and what to do instead: they advise kernels."""


class BuildError(Exception):
    """A plugin could not be compiled; the message is for its author."""


@dataclass(frozen=True, slots=True)
class Compiler:
    """A C compiler for eBPF: how it is called, and how it is named."""

    command: tuple[str, ...]
    target: str
    name: str


def find_compiler() -> Compiler:
    """Return the compiler to use: $ZEROSERVE_CLANG, clang of the path if new enough, else ziglang."""
    named = os.environ.get("ZEROSERVE_CLANG")
    if named:
        return Compiler((named,), "bpfel", named)
    clang = shutil.which("clang")
    if clang and _read_version(clang) >= CLANG_MIN:
        return Compiler((clang,), "bpfel", clang)
    if importlib.util.find_spec("ziglang") is not None:
        return Compiler((sys.executable, "-m", "ziglang", "cc"), "bpfel-freestanding", "zig cc (ziglang)")
    raise BuildError(
        f"no C compiler for eBPF: install clang {CLANG_MIN} or later, or the Python package ziglang "
        "(pip install 'zeroserve-ingress[plugins]')"
    )


def compile_c(sources: Sequence[Path], compiler: Compiler, includes: Sequence[Path] = ()) -> bytes:
    """Compile C files as one unit; raises BuildError with what the compiler said."""
    with tempfile.TemporaryDirectory(prefix="zeroserve-plugin-") as directory:
        unit, output = Path(directory) / "plugin.c", Path(directory) / "plugin.o"
        unit.write_text("".join(f'#include "{source.resolve()}"\n' for source in sources))
        paths = [*(f"-I{path}" for path in includes), "-isystem", str(SDK / "c")]
        source = str(sources[0]) if len(sources) == 1 else str(unit)
        command = [
            *compiler.command,
            "-target",
            compiler.target,
            *OPTIONS,
            *paths,
            "-o",
            str(output),
            source,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not output.is_file():
            said = done.stderr.strip() or f"exit code {done.returncode}"
            named = ", ".join(map(str, sources))
            raise BuildError(f"{compiler.name} could not compile {named}\n{add_cures(said)}")
        if done.stderr:
            print(done.stderr, end="", file=sys.stderr)
        return output.read_bytes()


def add_cures(said: str) -> str:
    """Return what a compiler said, with what to do about what eBPF does not have."""
    cures = (f"\n   = help: {cure}" for pattern, cure in CURES if re.search(pattern, said))
    return said + "".join(cures)


def _read_version(clang: str) -> int:
    done = subprocess.run([clang, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"version (\d+)", done.stdout)
    return int(found[1]) if found else 0
