"""Python code as parts of an image: locked wheels and our own, installed by uv, compiled without times.

Comes in: images/requirements and this repository. Goes out: a folder laid out for Debian's Python. Caller:
recipes.
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from .archives import Architecture
from .debian import TRIPLETS, ImageError

REPOSITORY = Path(__file__).resolve().parents[1]
REQUIREMENTS = REPOSITORY / "images" / "requirements"
# Where Debian's Python looks for what was not packaged.
SITE = "usr/local/lib/python3.11/dist-packages"
PLATFORMS = {Architecture.AMD64: "x86_64-manylinux_2_28", Architecture.ARM64: "aarch64-manylinux_2_28"}
# They tell of the machine that installed, or of files that we take away.
TRACES = {"RECORD", "REQUESTED", "INSTALLER", "direct_url.json", "uv_cache.json"}


def install_locked(name: str, root: Path, architecture: Architecture) -> None:
    """Install images/requirements/NAME.txt, by hash, from wheels only."""
    _install(root, architecture, "--require-hashes", "-r", str(REQUIREMENTS / f"{name}.txt"))


def describe_locked(name: str, architecture: Architecture) -> str:
    """Return what `install_locked` depends on."""
    return architecture.value + (REQUIREMENTS / f"{name}.txt").read_text()


def install_own(root: Path, architecture: Architecture, scratch: Path) -> None:
    """Install the distribution of this repository, with its commands in usr/local/bin."""
    _uv("build", "--quiet", "--wheel", "--no-build-isolation", "--out-dir", str(scratch), str(REPOSITORY))
    _install(root, architecture, "--no-index", *map(str, scratch.glob("*.whl")))


def compile_tree(root: Path, python_root: Path) -> None:
    """Compile what Python will import from `root`, with the Python that `python_root` holds.

    By hash and not by time, as the files in an image have no times; nothing there can be written later.
    """
    libraries = [python_root / folder / _triplet() for folder in ("lib", "usr/lib")]
    loader = next(path for folder in libraries for path in folder.glob("ld-linux-*.so.*"))
    python = [
        str(loader),
        "--library-path",
        ":".join(map(str, libraries)),
        str(python_root / "usr/bin/python3.11"),
    ]
    command = [*python, "-m", "compileall", "-q", "-s", str(root), "-p", "/"]
    command += [
        "--invalidation-mode",
        "unchecked-hash",
        str(root / "usr/lib/python3.11"),
        str(root / "usr/local/lib"),
    ]
    # The seed is for the order of constant sets.
    environment = {"PYTHONHOME": str(python_root / "usr"), "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImageError(f"cannot compile {root}: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def version() -> str:
    """Return the version of the distribution, which all images share."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    return str(project["project"]["version"])


def _install(root: Path, architecture: Architecture, *what: str) -> None:
    site = root / SITE
    site.mkdir(parents=True, exist_ok=True)
    target = ["--target", str(site), "--python-version", "3.11", "--python-platform", PLATFORMS[architecture]]
    _uv("pip", "install", "--quiet", "--no-deps", "--no-compile", "--only-binary", ":all:", *target, *what)
    shutil.rmtree(site / "bin", ignore_errors=True)  # these name the machine's own Python
    for path in list(site.iterdir()):
        if path.name.endswith(".dist-info"):
            for trace in TRACES:
                (path / trace).unlink(missing_ok=True)
            _write_commands(path, root)
        elif path.name in {".lock", "tests"}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _write_commands(info: Path, root: Path) -> None:
    entries = configparser.ConfigParser(delimiters=("=",))
    entries.read(info / "entry_points.txt")
    if not info.name.startswith("zeroserve_ingress-") or "console_scripts" not in entries:
        return
    for name, place in entries["console_scripts"].items():
        module, _, function = place.partition(":")
        command = root / "usr/local/bin" / name
        command.parent.mkdir(parents=True, exist_ok=True)
        # Guarded, as processes that multiprocessing spawns import this file again.
        call = f"import sys\nfrom {module} import {function}\n"
        call += f'if __name__ == "__main__":\n    sys.exit({function}())\n'
        command.write_text(f"#!/usr/bin/python3.11\n{call}")
        command.chmod(0o755)


def _uv(*arguments: str) -> None:
    beside = Path(sys.executable).with_name("uv")
    program = str(beside) if beside.exists() else shutil.which("uv")
    if program is None:
        raise ImageError("uv is missing; run make setup")
    environment = os.environ | {"SOURCE_DATE_EPOCH": "315532800", "VIRTUAL_ENV": str(Path(sys.prefix))}
    done = subprocess.run([program, *arguments], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise ImageError(f"uv {' '.join(arguments[:2])}: {done.stderr.strip()[-4000:]}")


def _triplet() -> str:
    machine = {"x86_64": Architecture.AMD64, "aarch64": Architecture.ARM64}
    return TRIPLETS[machine[os.uname().machine]]
