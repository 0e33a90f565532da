"""Debian packages as parts of an image: resolved by apt, only unpacked, never configured.

Comes in: names of packages. Goes out: a folder with their files and, in var/lib/dpkg/status.d, what they are
(where scanners look). Rule: versions are those of the machine's Debian; the same archive state gives the
same files.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .archives import Architecture

# Only of use while a package is configured, which ours are not.
NEVER = {"debconf", "dpkg", "install-info", "perl-base", "debianutils"}
UNUSED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/bug",
    "usr/lib/{triplet}/gconv",
    "usr/share/binfmts",
    "usr/share/applications",
    "usr/share/pixmaps",
)
TRIPLETS = {Architecture.AMD64: "x86_64-linux-gnu", Architecture.ARM64: "aarch64-linux-gnu"}


class ImageError(Exception):
    """The image cannot be built here; the message says why and what cures it."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package and its control fields."""

    name: str
    version: str
    control: str

    def file_name(self, architecture: str) -> str:
        """Return the name that apt-get gives to the downloaded file."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{architecture}.deb"


class Archive:
    """Debian's archive, as the machine's apt knows it, for one architecture."""

    def __init__(self, architecture: Architecture, cache: Path) -> None:
        self._architecture = architecture
        self._folder = cache / "debian" / architecture.value
        self._folder.mkdir(parents=True, exist_ok=True)
        release = Path("/etc/os-release").read_text()
        if "VERSION_CODENAME=bookworm" not in release or shutil.which("apt-get") is None:
            raise ImageError(
                "images are put together here on Debian 12 only; elsewhere use images/containerfiles"
            )
        self._options = ["-o", "APT::Sandbox::User=root"]
        if self._run("dpkg", "--print-architecture").strip() != architecture.value:
            self._options += self._foreign()

    def describe(self, names: Sequence[str]) -> str:
        """Return names and versions of packages, with all that they depend on."""
        return "".join(f"{package.name} {package.version}\n" for package in self._available(names))

    def unpack(self, names: Sequence[str], target: Path) -> None:
        """Unpack packages, with all that they depend on, into a folder."""
        for package in self._available(names):
            self._run("dpkg-deb", "-x", str(self._file(package)), str(target))
            note = target / "var/lib/dpkg/status.d" / package.name
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(package.control)
        for unused in UNUSED:
            folder = target / unused.format(triplet=TRIPLETS[self._architecture])
            shutil.rmtree(folder, ignore_errors=True)

    def _foreign(self) -> list[str]:
        """Return options for private lists: the machine's own apt learns of no other architecture."""
        lists, state = self._folder / "lists", self._folder / "state"
        for folder in (lists / "partial", state):
            folder.mkdir(parents=True, exist_ok=True)
        (state / "status").touch()
        options = ["-o", f"APT::Architecture={self._architecture.value}", "-o", f"Dir::State::Lists={lists}"]
        options += ["-o", "APT::Architectures::=" + self._architecture.value]
        options += ["-o", f"Dir::State::status={state}/status", "-o", f"Dir::Cache={state}"]
        if not any(lists.glob("*_Packages*")):
            self._run("apt-get", "-qq", *self._options, *options, "update")
        return options

    def _available(self, names: Sequence[str]) -> list[Package]:
        """Return packages whose files are here, with all that they depend on."""
        try:
            packages = self._closure(names)
            self._download(packages)
        except ImageError:  # the lists are not there at all, or older than the archive
            if os.geteuid() != 0:
                raise
            self._run("apt-get", "-qq", *self._options, "update")
            packages = self._closure(names)
            self._download(packages)
        return packages

    def _closure(self, names: Sequence[str]) -> list[Package]:
        found: dict[str, Package] = {}
        needed = set(names)
        while needed:
            for package in self._show(sorted(needed)):
                found[package.name] = package
            needed = {name for package in found.values() for name in _depends(package)} - found.keys() - NEVER
        return [found[name] for name in sorted(found)]

    def _show(self, names: Sequence[str]) -> list[Package]:
        shown = self._run("apt-cache", *self._options, "show", "--no-all-versions", *names)
        packages = []
        for control in shown.strip().split("\n\n"):
            fields = dict(re.findall(r"^([A-Z][\w-]*): (.*)", control, re.MULTILINE))
            kept = {
                name: fields[name]
                for name in ("Package", "Version", "Architecture", "Pre-Depends", "Depends")
                if name in fields
            }
            text = "".join(f"{name}: {value}\n" for name, value in kept.items())
            packages.append(Package(fields["Package"], fields["Version"], text))
        missing = set(names) - {package.name for package in packages}
        if missing:
            raise ImageError(f"apt does not know {', '.join(sorted(missing))}; run apt-get update")
        return packages

    def _download(self, packages: Sequence[Package]) -> None:
        missing = [
            f"{package.name}={package.version}" for package in packages if not self._file(package).exists()
        ]
        if missing:
            self._run("apt-get", "-qq", *self._options, "download", *missing, folder=self._folder)

    def _file(self, package: Package) -> Path:
        for architecture in (self._architecture.value, "all"):
            path = self._folder / package.file_name(architecture)
            if path.exists():
                return path
        return path

    def _run(self, *command: str, folder: Path | None = None) -> str:
        environment = os.environ | {"LC_ALL": "C"}
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=folder, env=environment, check=False
        )
        if done.returncode:
            raise ImageError(f"{' '.join(command[:4])} ...: {done.stderr.strip()}")
        return done.stdout


def _depends(package: Package) -> set[str]:
    """Return what a package needs; of alternatives the first."""
    lines = re.findall(r"^(?:Pre-Depends|Depends): (.*)", package.control, re.MULTILINE)
    return {re.split(r"[ :(|]", one)[0] for line in lines for one in line.split(", ")}
