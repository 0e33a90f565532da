"""Compiles plugins in Zig by the compiler of the Python package `ziglang`, or `zig` on the path.

In: Zig files, of which the first is the root. Out: the bytes of an eBPF object.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from zeroserve_cli.plugins.building import SDK, BuildError, add_cures


def compile_zig(sources: Sequence[Path]) -> bytes:
    """Compile the root file and what it imports; raises BuildError with what the compiler said."""
    with tempfile.TemporaryDirectory(prefix="zeroserve-plugin-") as directory:
        output = Path(directory) / "plugin.o"
        command = [
            *_find_zig(),
            "build-obj",
            *("-target", "bpfel-freestanding", "-mcpu=v4", "-O", "ReleaseSmall", "-fno-strip"),
            *("-fsingle-threaded", "-fno-stack-check", f"-femit-bin={output}"),
            *("--dep", "zeroserve", f"-Mroot={sources[0]}", f"-Mzeroserve={SDK / 'zig/zeroserve.zig'}"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not output.is_file():
            said = done.stderr.strip() or f"exit code {done.returncode}"
            raise BuildError(f"zig could not compile {sources[0]}\n{add_cures(said)}")
        return output.read_bytes()


def _find_zig() -> tuple[str, ...]:
    if importlib.util.find_spec("ziglang") is not None:
        return sys.executable, "-m", "ziglang"
    found = shutil.which("zig")
    if found is None:
        raise BuildError(
            "no Zig: install the Python package ziglang (pip install 'zeroserve-ingress[plugins]')"
        )
    return (found,)
