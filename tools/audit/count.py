"""The lines that somebody reads who wants to know whether strangers' programs stay in: `make audit`.

Out: a table of parts, each with its lines that are neither blank, nor comment, test or generated. Rule:
what is not listed here is not trusted to keep a program in; a test finds files that no part names.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "instructions": (
        "what bytes mean: decoding, encoding, arithmetic; the contract of programs",
        (
            "ir/zeroserve_ir/program/isa.py",
            "ir/zeroserve_ir/program/encoding.py",
            "ir/zeroserve_ir/program/arithmetic.py",
            "ir/zeroserve_ir/program/abi*.py",
        ),
    ),
    "verifier": (
        "what may run at all, and which accesses need no mask",
        ("dataplane/zeroserve_dataplane/verifier/*.py",),
    ),
    "compiler": (
        "eBPF to LLVM IR to code without relocations",
        (
            "dataplane/zeroserve_dataplane/jit/translating.py",
            "dataplane/zeroserve_dataplane/jit/writing.py",
            "dataplane/zeroserve_dataplane/jit/emitting.py",
            "dataplane/zeroserve_dataplane/jit/tuning.py",
            "dataplane/zeroserve_dataplane/jit/extracting.py",
            "dataplane/zeroserve_dataplane/jit/targets.py",
        ),
    ),
    "compile workers": (
        "the processes that LLVM runs in, what they may ask of the kernel, what is kept of theirs",
        (
            "ir/zeroserve_ir/**/confining.py",
            "dataplane/zeroserve_dataplane/**/confining.py",
            "dataplane/zeroserve_dataplane/jit/serving.py",
            "dataplane/zeroserve_dataplane/jit/workers.py",
            "dataplane/zeroserve_dataplane/jit/starting.py",
            "dataplane/zeroserve_dataplane/jit/messages.py",
            "dataplane/zeroserve_dataplane/jit/compiling.py",
            "dataplane/zeroserve_dataplane/jit/caching.py",
        ),
    ),
    "cage": (
        "window, entry and traps of native code, mapping of images",
        (
            "dataplane/engine/src/program/window.rs",
            "dataplane/engine/src/program/trap.rs",
            "dataplane/engine/src/program/image.rs",
            "dataplane/engine/src/program/run.rs",
            "dataplane/engine/src/program/cage.rs",
            "dataplane/engine/src/program/confining.rs",
            "dataplane/engine/src/program/plugins.rs",
            "dataplane/engine/src/program/mod.rs",
        ),
    ),
    "interpreter": (
        "the same programs where executable memory is forbidden",
        ("dataplane/engine/src/program/interpreter.rs", "dataplane/zeroserve_dataplane/marking.py"),
    ),
    "helpers": (
        "what programs may ask of the engine",
        ("dataplane/engine/src/program/helpers/**/*.rs", "dataplane/engine/src/program/folding.rs"),
    ),
    "plugins": (
        "what a plugin is granted, remembers and may make grow",
        ("dataplane/engine/src/plugins/**/*.rs",),
    ),
    "engine's filters": (
        "system calls and files of the process that runs programs",
        ("dataplane/engine/src/seccomp.rs", "dataplane/engine/src/landlock.rs"),
    ),
}
GENERATED = frozenset({"abi.rs"})
SEARCHED = (
    "dataplane/zeroserve_dataplane/verifier/*.py",
    "dataplane/engine/src/program/**/*.rs",
    "dataplane/engine/src/plugins/**/*.rs",
    "ir/zeroserve_ir/program/abi*.py",
)
_COMMENT = re.compile(r"\s*(#|//)")
_DOCSTRING = re.compile(r'^\s*(?:r?)"""(?:.*?)"""', re.MULTILINE | re.DOTALL)
_RUST_TESTS = re.compile(r"^#\[cfg\(test\)\]\nmod \w+ \{.*", re.MULTILINE | re.DOTALL)


def find_files(patterns: tuple[str, ...]) -> list[Path]:
    """Return the files that patterns name, tests aside."""
    found = {
        path
        for pattern in patterns
        for path in ROOT.glob(pattern)
        if "tests" not in path.stem and path.name not in GENERATED
    }
    return sorted(found)


def count_lines(path: Path) -> int:
    """Return the lines of code."""
    text = path.read_text()
    text = _RUST_TESTS.sub("", text) if path.suffix == ".rs" else _DOCSTRING.sub("", text)
    return sum(1 for line in text.splitlines() if line.strip() and not _COMMENT.match(line))


def find_unlisted() -> list[Path]:
    """Return files of the searched directories that no part names."""
    listed = {path for _, patterns in PARTS.values() for path in find_files(patterns)}
    return [path for path in find_files(SEARCHED) if path not in listed]


def render() -> str:
    """Return the table as Markdown."""
    rows = ["| part | what it decides | files | lines |", "|---|---|---:|---:|"]
    whole = 0
    for name, (meaning, patterns) in PARTS.items():
        files = find_files(patterns)
        lines = sum(map(count_lines, files))
        whole += lines
        rows.append(f"| {name} | {meaning} | {len(files)} | {lines:,} |")
    return "\n".join([*rows, f"| all | | | {whole:,} |"])


if __name__ == "__main__":
    print(render())
    sys.exit(1 if find_unlisted() else 0)
