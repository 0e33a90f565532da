"""Builds the pinned tools (`tools/*/go.mod`) from source into the cache.

A tool module's folder in the cache is named by the digest of its go.mod, go.sum, sources, flags and Go's
version: a warm call costs a few milliseconds, and a changed pin builds anew beside the old one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .places import REPOSITORY, ClusterError, cache_folder

BASE_FLAGS = ("-mod=readonly", "-trimpath", "-buildvcs=false")


@dataclass(frozen=True, slots=True)
class Module:
    """A folder below tools/ and the programs that it builds: name to package."""

    name: str
    programs: dict[str, str]
    # The pinned module whose version the programs tell as theirs, and the linker variables for it.
    version_of: str = ""
    version_variables: tuple[tuple[str, str], ...] = field(default=())

    @property
    def folder(self) -> Path:
        """Where its go.mod is."""
        return REPOSITORY / "tools" / self.name

    def version(self) -> str:
        """Return the version that go.mod pins, as `v1.2.3`."""
        pinned = re.search(
            rf"^\s*(?:require )?{re.escape(self.version_of)} (v\S+)", self._go_mod(), re.MULTILINE
        )
        if pinned is None:
            raise ClusterError(f"{self.folder}/go.mod does not pin {self.version_of}")
        return pinned[1]

    def linker_flags(self) -> str:
        """Return what goes to -ldflags: no symbols (a third of the size) and the version."""
        flags = ["-s", "-w"]
        if self.version_of:
            version = self.version()
            major, minor, *_ = version.removeprefix("v").split(".")
            for variable, form in self.version_variables:
                flags += ["-X", f"{variable}={form.format(version=version, major=major, minor=minor)}"]
        return " ".join(flags)

    def _go_mod(self) -> str:
        return (self.folder / "go.mod").read_text()


_COMPONENT = "k8s.io/component-base/version."
KUBERNETES = Module(
    "kubernetes",
    {"etcd": "go.etcd.io/etcd/server/v3"}
    | {
        name: f"k8s.io/kubernetes/cmd/{name}"
        for name in (
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubectl",
            "kubelet",
            "kube-proxy",
        )
    },
    "k8s.io/kubernetes",
    (
        (f"{_COMPONENT}gitVersion", "{version}"),
        (f"{_COMPONENT}gitMajor", "{major}"),
        (f"{_COMPONENT}gitMinor", "{minor}"),
    ),
)
HELM = Module("helm", {"helm": "helm.sh/helm/v4/cmd/helm"})
COREDNS = Module("coredns", {"coredns": "."})
PAUSE = Module("pause", {"pause": "."})
ECHO = Module("echo", {"echo": "."})
MODULES = (ECHO, PAUSE, HELM, COREDNS, KUBERNETES)


def build(*modules: Module) -> dict[str, Path]:
    """Build what the cache lacks of these modules and return where each of their programs is."""
    programs: dict[str, Path] = {}
    for module in modules:
        target = cache_folder() / "tools" / f"{module.name}-{_digest(module)[:16]}"
        programs |= {name: target / name for name in module.programs}
        if any(not (target / name).exists() for name in module.programs):
            _build_missing(module, target)
    return programs


def _build_missing(module: Module, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with _only_one(target / "lock"):
        missing = [name for name in module.programs if not (target / name).exists()]
        for count, name in enumerate(missing, 1):
            _say(f"building {name} from source ({count} of {len(missing)} in tools/{module.name}) ...")
            start = time.monotonic()
            _go_build(module, name, target)
            _say(f"built {name} in {time.monotonic() - start:.0f} s")


def _go_build(module: Module, name: str, target: Path) -> None:
    new = target / f"{name}.new"
    command = [
        "go",
        "build",
        *BASE_FLAGS,
        "-ldflags",
        module.linker_flags(),
        "-o",
        str(new),
        module.programs[name],
    ]
    done = subprocess.run(
        command,
        check=False,
        cwd=module.folder,
        env=_go_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise ClusterError(f"cannot build {name}: {' '.join(command)}\n{done.stdout[-4000:]}")
    new.rename(target / name)


def _digest(module: Module) -> str:
    digest = hashlib.sha256()
    digest.update(
        repr((_go_version(), BASE_FLAGS, module.linker_flags(), sorted(module.programs.items()))).encode()
    )
    sources = [path for path in module.folder.iterdir() if path.suffix in {".go", ".mod", ".sum"}]
    for path in sorted(path for path in sources if not path.name.endswith("_test.go")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _go_version() -> str:
    if shutil.which("go") is None:
        raise ClusterError("Go is missing: install Go 1.26 or later (the tests build Kubernetes with it)")
    asked = subprocess.run(
        ["go", "env", "GOVERSION", "GOOS", "GOARCH"],
        check=True,
        capture_output=True,
        text=True,
        cwd="/",
        env=_go_environment(),
    )
    return asked.stdout


def _go_environment() -> dict[str, str]:
    return os.environ | {"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": ""}


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
