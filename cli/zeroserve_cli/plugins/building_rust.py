"""Compiles plugins in Rust by the author's own stable toolchain, and LLVM for eBPF after it.

In: a crate. Out: the bytes of an eBPF object. rustc has no `core` for eBPF targets; it makes bitcode of the
whole program for this machine, `core` included, and `zeroserve_dataplane.jit.retargeting` makes eBPF of that
(docs/decisions/0010). The rule: what the compilers say reaches the author as it is.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from zeroserve_cli.plugins.building import BuildError, add_cures

PROFILE: Final = {
    "lto": '"fat"',
    "panic": '"abort"',
    "codegen-units": "1",
    "opt-level": "2",
    "debug": "true",
    "strip": "false",
    "overflow-checks": "false",
    "incremental": "false",
}
"""Set whatever the crate says: without them there is no bitcode of a whole program."""
CODE_OPTIONS: Final = (
    "-Csave-temps",
    "-Clinker=true",
    "-Cno-vectorize-loops",
    "-Cno-vectorize-slp",
    "-Crelocation-model=static",
)
BITCODE: Final = "*.lto.after-restriction.bc"


def compile_rust(manifest: Path) -> bytes:
    """Compile a crate; raises BuildError with what the compiler said."""
    cargo = os.environ.get("CARGO") or shutil.which("cargo")
    if cargo is None:
        raise BuildError("no Rust: install a stable toolchain with rustup (cargo is not on the path)")
    _check_version()
    with tempfile.TemporaryDirectory(prefix="zeroserve-plugin-") as directory:
        settings = [f"--config=profile.release.{key}={value}" for key, value in PROFILE.items()]
        command = [cargo, "rustc", "--release", "--lib", "--crate-type=cdylib", "--quiet", *settings]
        command += [f"--manifest-path={manifest}", f"--target-dir={directory}", "--", *CODE_OPTIONS]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "CARGO_INCREMENTAL": "0"}
        )
        made = sorted((Path(directory) / "release").rglob(BITCODE))
        if done.returncode or not made:
            said = done.stderr.strip() or "no bitcode of the whole program was left"
            raise BuildError(f"cargo could not compile {manifest}\n{add_cures(said)}")
        if done.stderr:
            print(done.stderr, end="", file=sys.stderr)
        return _retarget(made[0].read_bytes(), manifest)


def _retarget(bitcode: bytes, manifest: Path) -> bytes:
    """LLVM ends the process where it meets what eBPF does not have."""
    command = [sys.executable, "-m", "zeroserve_dataplane.jit.retargeting"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    done = subprocess.run(command, input=bitcode, capture_output=True, check=False, env=environment)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-2000:] or f"exit code {done.returncode}"
        raise BuildError(
            f"{manifest} uses what eBPF does not have: floating point, 128-bit division, large frames, or "
            f"instructions of this machine; LLVM says:\n{add_cures(said)}"
        )
    return done.stdout


def _check_version() -> None:
    """Bitcode of a later LLVM than ours cannot be read: say so, and what helps."""
    # What compiles plugins is loaded for those who compile one.
    from zeroserve_dataplane.jit.retargeting import VERSION  # noqa: PLC0415

    done = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=False)
    found = re.search(r"LLVM version: (\d+)", done.stdout)
    if found and int(found[1]) > VERSION[0]:
        raise BuildError(
            f"rustc is of LLVM {found[1]}, ours of {VERSION[0]}: take an older toolchain for plugins, for "
            "example `rustup toolchain install 1.95` and RUSTUP_TOOLCHAIN=1.95"
        )
