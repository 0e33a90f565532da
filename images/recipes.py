"""The images of the product: which packages, wheels and programs, in which layers.

Layers come from what changes least to what changes most, so that an upgrade moves few bytes: Debian's
packages, locked wheels, our own code. The engine's image holds that program and the libraries that it is
linked with: no shell, no Python.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import InterpSegment

from . import archives, wheels
from .archives import Architecture, Config, Layer, LayerWriter
from .debian import TRIPLETS, Archive, ImageError

REPOSITORY = wheels.REPOSITORY
# Part of the name of cached layers: raise it when the same packages come to make another layer.
LAYOUT = 1
ENGINE = REPOSITORY / "dataplane" / "engine"
ENGINE_PROGRAM = "usr/local/bin/zeroserve-engine"
PYTHON_PACKAGES = ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6")
LIBRARY_PACKAGES = ("libc6", "libgcc-s1")
PYTHON_ENVIRONMENT = (
    "PATH=/usr/local/bin:/usr/bin",
    "HOME=/tmp",
    "LC_ALL=C.UTF-8",
    "PYTHONDONTWRITEBYTECODE=1",
    "PYTHONUNBUFFERED=1",
)
RUST_TARGETS = {
    Architecture.AMD64: "x86_64-unknown-linux-gnu",
    Architecture.ARM64: "aarch64-unknown-linux-gnu",
}


@dataclass(frozen=True, slots=True)
class Order:
    """What to build: for which machine, from which cache, and how the image is called."""

    architecture: Architecture
    cache: Path
    registry: str
    tag: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def image_name(self, image: str) -> str:
        """Return the name that a Pod asks for."""
        return f"{self.registry}/{image}:{self.tag}"


def build_python(order: Order, component: str, target: Path) -> str:
    """Build the image `zeroserve-COMPONENT`, which runs the `zeroserve` command; returns its digest."""
    with tempfile.TemporaryDirectory(prefix="zeroserve-image-") as name:
        scratch = Path(name)
        archive = Archive(order.architecture, order.cache)

        def compiled(root: Path) -> None:
            python = order.cache / "python"
            machine = Archive(_machine(), order.cache)  # byte code is the same on all machines
            python = _cached_folder(
                python,
                machine.describe(PYTHON_PACKAGES),
                lambda folder: machine.unpack(PYTHON_PACKAGES, folder),
            )
            wheels.compile_tree(root, python)

        def base(root: Path) -> None:
            archive.unpack(PYTHON_PACKAGES, root)
            compiled(root)

        def locked(root: Path) -> None:
            wheels.install_locked(component, root, order.architecture)
            compiled(root)

        def own(root: Path) -> None:
            wheels.install_own(root, order.architecture, scratch / "wheel")
            compiled(root)

        packages = archive.describe(PYTHON_PACKAGES)
        pins = wheels.describe_locked(component, order.architecture)
        layers = [
            _cached_layer(order, packages, base, lowest=True),
            _cached_layer(order, packages + pins, locked),
            _layer(scratch / "own", scratch / "own.tar", own),
        ]
        config = Config(("/usr/local/bin/zeroserve",), environment=PYTHON_ENVIRONMENT, labels=_labels(order))
        image = order.image_name(f"zeroserve-{component}")
        return archives.write(target, image, layers, config, order.architecture)


def build_engine(order: Order, target: Path) -> str:
    """Build the image `zeroserve-engine`; returns its digest."""
    program = engine_program(order.architecture)
    with tempfile.TemporaryDirectory(prefix="zeroserve-image-") as name:
        scratch = Path(name)
        packages = scratch / "packages"
        Archive(order.architecture, order.cache).unpack(LIBRARY_PACKAGES, packages)

        def fill(root: Path) -> None:
            files = {ENGINE_PROGRAM: program} | _linked(program, packages, order.architecture)
            for place, source in files.items():
                (root / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, root / place)
                (root / place).chmod(0o755)
            shutil.copytree(packages / "var", root / "var")

        layer = _layer(scratch / "root", scratch / "root.tar", fill, lowest=True)
        config = Config((f"/{ENGINE_PROGRAM}",), labels=_labels(order))
        image = order.image_name("zeroserve-engine")
        return archives.write(target, image, [layer], config, order.architecture)


def engine_program(architecture: Architecture) -> Path:
    """Build the engine for an architecture; return the program ($ZEROSERVE_ENGINE names a built one)."""
    if built := os.environ.get("ZEROSERVE_ENGINE"):
        return Path(built)
    command = ["cargo", "build", "--release", "--locked"]
    environment = dict(os.environ)
    folder = ENGINE / "target" / "release"
    if architecture is not _machine():
        rust = RUST_TARGETS[architecture]
        compiler = f"{TRIPLETS[architecture]}-gcc"
        if shutil.which(compiler) is None:
            raise ImageError(f"{compiler} is missing: apt-get install gcc-{TRIPLETS[architecture]}")
        key = rust.upper().replace("-", "_")
        environment |= {f"CARGO_TARGET_{key}_LINKER": compiler, f"CC_{rust.replace('-', '_')}": compiler}
        command += ["--target", rust]
        folder = ENGINE / "target" / rust / "release"
    done = subprocess.run(command, cwd=ENGINE, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImageError(f"{' '.join(command)}: {done.stderr.strip()[-4000:]}")
    return folder / "zeroserve-engine"


def _linked(program: Path, root: Path, architecture: Architecture) -> dict[str, Path]:
    """Return the loader and libraries of a program: place in the image to file."""
    folders = [root / folder / TRIPLETS[architecture] for folder in ("lib", "usr/lib")]
    found: dict[str, Path] = {}
    pending = [program]
    while pending:
        with pending.pop().open("rb") as content:
            elf = ELFFile(content)
            loaders = [s.get_interp_name() for s in elf.iter_segments() if isinstance(s, InterpSegment)]
            sections = [s for s in elf.iter_sections() if isinstance(s, DynamicSection)]
            needed = [str(tag.needed) for s in sections for tag in s.iter_tags("DT_NEEDED")]  # type: ignore[attr-defined]
        for name in [*loaders, *needed]:
            file_name = Path(name).name
            file = next((folder / file_name for folder in folders if (folder / file_name).is_file()), None)
            if file is None:
                raise ImageError(f"{program.name} needs {name}, which {', '.join(LIBRARY_PACKAGES)} lack")
            place = name.lstrip("/") if name.startswith("/") else str(file.relative_to(root))
            if place not in found:
                found[place] = file
                pending.append(file)
    return found


def _cached_layer(order: Order, key: str, fill: Callable[[Path], None], lowest: bool = False) -> Layer:
    """Return the layer of what the key describes, made once for a machine."""
    digest = hashlib.sha256(f"{LAYOUT}{order.architecture.value}{lowest}{key}".encode()).hexdigest()
    target = order.cache / "layers" / f"{digest[:32]}.tar"
    if target.exists():
        return archives.read_layer(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="zeroserve-layer-", dir=target.parent) as name:
        new = Path(name) / "layer.tar"
        _layer(Path(name) / "root", new, fill, lowest)
        new.rename(target)
    return archives.read_layer(target)


def _cached_folder(parent: Path, key: str, fill: Callable[[Path], None]) -> Path:
    target = parent / hashlib.sha256(key.encode()).hexdigest()[:32]
    if not target.exists():
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="zeroserve-folder-", dir=parent) as name:
            new = Path(name) / "root"
            new.mkdir()
            fill(new)
            new.rename(target)
    return target


def _layer(root: Path, target: Path, fill: Callable[[Path], None], lowest: bool = False) -> Layer:
    root.mkdir()
    fill(root)
    layer = LayerWriter(target)
    if lowest:
        layer.folder("tmp", 0o1777)
        layer.data("etc/passwd", archives.PASSWD)
    layer.tree(root)
    return layer.finish()


def _labels(order: Order) -> dict[str, str]:
    fixed = {
        "org.opencontainers.image.title": "zeroserve-ingress",
        "org.opencontainers.image.version": order.tag,
        "org.opencontainers.image.licenses": "Apache-2.0",
    }
    return fixed | dict(order.labels)


def _machine() -> Architecture:
    machines = {"x86_64": Architecture.AMD64, "aarch64": Architecture.ARM64}
    found = machines.get(os.uname().machine)
    if found is None:
        raise ImageError(f"machines of kind {os.uname().machine} are not known here")
    return found
