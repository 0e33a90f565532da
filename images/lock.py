"""Writes images/requirements: what an image needs of pyproject.toml, pinned as in requirements/dev.txt."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from . import wheels

EXTRAS = {"operator": "operator", "agent": "dataplane"}


def requirements(image: str) -> list[str]:
    """Return what pyproject.toml asks for in an image; the engine is an image of its own."""
    project = tomllib.loads((wheels.REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"][EXTRAS[image]]]
    return [one for one in wanted if not one.startswith("zeroserve-engine")]


def lock(image: str) -> None:
    """Resolve one image's requirements anew."""
    command = [
        str(Path(sys.executable).with_name("uv")),
        "pip",
        "compile",
        "--quiet",
        "--python-version",
        "3.11",
    ]
    command += ["--constraint", str(wheels.REPOSITORY / "requirements" / "dev.txt"), "--generate-hashes"]
    command += [
        "--no-header",
        "--no-emit-index-url",
        "--no-annotate",
        "-o",
        str(wheels.REQUIREMENTS / f"{image}.txt"),
        "-",
    ]
    subprocess.run(
        command, input="\n".join(requirements(image)), text=True, check=True, stdout=subprocess.DEVNULL
    )


if __name__ == "__main__":
    for name in EXTRAS:
        lock(name)
