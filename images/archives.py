"""Layers and OCI image archives (OCI image-spec 1.1: image layout in a tar)."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import IO

MEDIA = "application/vnd.oci.image."
COPY_BYTES = 1 << 20


class Architecture(Enum):
    """The machines that we build for, by the name that OCI has for them; Debian's is the same."""

    AMD64 = "amd64"
    ARM64 = "arm64"


@dataclass(frozen=True, slots=True)
class Layer:
    """An uncompressed tar on disk and the digest of it, `sha256:...`."""

    path: Path
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Config:
    """How containers of an image run."""

    entrypoint: tuple[str, ...]
    user: str = "65532:65532"
    environment: tuple[str, ...] = ("PATH=/usr/local/bin:/usr/bin",)
    labels: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """Return the "config" object of the image's configuration."""
        shown: dict[str, object] = {
            "User": self.user,
            "Env": list(self.environment),
            "Entrypoint": list(self.entrypoint),
            "WorkingDir": "/",
        }
        return shown | ({"Labels": dict(self.labels)} if self.labels else {})


class LayerWriter:
    """Fills one layer: entries have no times and no owners, and come in the order of the calls."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tar = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 (closed by `finish`)
        self._seen: set[str] = set()

    def folder(self, name: str, mode: int = 0o755) -> None:
        """Add a folder, once, after the folders above it."""
        name = name.strip("/")
        if not name or name in self._seen:
            return
        self.folder(os.path.dirname(name))
        self._seen.add(name)
        self._tar.addfile(_entry(name, tarfile.DIRTYPE, mode))

    def data(self, name: str, data: bytes, mode: int = 0o644) -> None:
        """Add a file with this content."""
        entry = self._below(name, tarfile.REGTYPE, mode)
        entry.size = len(data)
        self._tar.addfile(entry, io.BytesIO(data))

    def file(self, name: str, source: Path, mode: int | None = None) -> None:
        """Add a copy of a file; without `mode` it keeps its own permissions, less set-id bits."""
        status = source.stat()
        entry = self._below(name, tarfile.REGTYPE, status.st_mode & 0o777 if mode is None else mode)
        entry.size = status.st_size
        with source.open("rb") as content:
            self._tar.addfile(entry, content)

    def link(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        entry = self._below(name, tarfile.SYMTYPE, 0o777)
        entry.linkname = target
        self._tar.addfile(entry)

    def tree(self, source: Path, at: str = "") -> None:
        """Add a folder with all that is in it, sorted by name."""
        for path in sorted(source.iterdir(), key=lambda one: one.name):
            name = f"{at}/{path.name}".strip("/")
            if path.is_symlink():
                self.link(name, os.readlink(path))
            elif path.is_dir():
                self.folder(name, path.stat().st_mode & 0o1777)
                self.tree(path, name)
            else:
                self.file(name, path)

    def finish(self) -> Layer:
        """Close the layer; nothing can be added after it."""
        self._tar.close()
        return read_layer(self._path)

    def _below(self, name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
        self.folder(os.path.dirname(name))
        return _entry(name, kind, mode)


def read_layer(path: Path) -> Layer:
    """Return the layer that a file holds."""
    with path.open("rb") as content:
        return Layer(path, f"sha256:{_sha256(content)}", path.stat().st_size)


def write(
    target: Path, name: str, layers: Sequence[Layer], config: Config, architecture: Architecture
) -> str:
    """Write an archive of the image `name` (with a tag) and return the digest of its manifest."""
    blobs: dict[str, bytes | Path] = {layer.digest: layer.path for layer in layers}

    def blob(kind: str, data: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        blobs[digest] = data
        return {"mediaType": MEDIA + kind, "digest": digest, "size": len(data)}

    platform = {"architecture": architecture.value, "os": "linux"}
    configuration = platform | {
        "config": config.as_json(),
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{MEDIA}manifest.v1+json",
        "config": blob("config.v1+json", _json(configuration)),
        "layers": [
            {"mediaType": f"{MEDIA}layer.v1.tar", "digest": layer.digest, "size": layer.size}
            for layer in layers
        ],
    }
    described = blob("manifest.v1+json", _json(manifest))
    # containerd reads the first annotation, podman and skopeo the second.
    names = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    index = {"schemaVersion": 2, "manifests": [described | {"annotations": names, "platform": platform}]}
    _write_layout(target, index, blobs)
    return str(described["digest"])


def write_program(target: Path, name: str, program: Path, architecture: Architecture) -> str:
    """Write the image of one static program: it is /app in it, and the entry point."""
    part = target.with_suffix(".layer")
    try:
        layer = LayerWriter(part)
        layer.folder("tmp", 0o1777)
        layer.data("etc/passwd", PASSWD)
        layer.file("app", program, 0o755)
        return write(target, name, [layer.finish()], Config(("/app",)), architecture)
    finally:
        part.unlink(missing_ok=True)


def _write_layout(target: Path, index: Mapping[str, object], blobs: Mapping[str, bytes | Path]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f"{target.name}.new")
    writer = LayerWriter(new)
    writer.data("oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
    writer.data("index.json", _json(index))
    for digest, content in sorted(blobs.items()):
        name = f"blobs/{digest.replace(':', '/')}"
        if isinstance(content, Path):
            writer.file(name, content, 0o644)
        else:
            writer.data(name, content)
    writer.finish()
    new.rename(target)


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry


def _sha256(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while data := content.read(COPY_BYTES):
        digest.update(data)
    return digest.hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


PASSWD = b"root:x:0:0::/:/none\nnonroot:x:65532:65532::/tmp:/none\n"
