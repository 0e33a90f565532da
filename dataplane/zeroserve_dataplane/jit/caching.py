"""Native code kept on disk: content-addressed, bounded, and never trusted further than its digest and owner.

In: keys made of everything that decides about the code. Out: code, or nothing: a file that is cut short,
changed, renamed, unreadable or not ours alone is removed and counts as absent. The rule: a file appears
whole, by rename, or never; what another user may have written is never run, whoever owns the directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import stat
import struct
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

import zeroserve_ir.program
from zeroserve_ir.program import abi

import zeroserve_dataplane
from zeroserve_dataplane.jit.messages import Job, Made
from zeroserve_dataplane.verifier import Exposure

CACHE_BYTES_MAX: Final = 256 << 20
"""About 50,000 images of ordinary route programs in both tiers."""
EVICT_TO: Final = 0.8
"""Share of the bound that is left after an eviction, so that evictions are rare."""
LOOK_AGAIN: Final = 1 / 16
"""Share of the bound that may be stored before all is counted again: others store here, too."""

_MAGIC: Final = b"zsimage4"
_HEAD: Final = struct.Struct("<8sIB32s")
_SUFFIX: Final = ".image"
_FILE_BYTES_MAX: Final = _HEAD.size + (4 << 20)
"""As image.rs has it for the code."""


@dataclass(slots=True)
class Cache:
    """A directory of images; safe with several processes on it."""

    directory: Path
    bytes_max: int = CACHE_BYTES_MAX
    _stored_bytes: float = math.inf
    """Since all was counted; to count takes as long as there are images."""

    def __post_init__(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def is_empty(self) -> bool:
        """Whether there is no image at all: every program will have to be compiled."""
        return next(self.directory.glob(f"*{_SUFFIX}"), None) is None

    def load(self, job: Job) -> Made | None:
        """Return the image of a job, if it is there and whole."""
        path = self._path(job)
        try:
            content = _read_own(path)
        except FileNotFoundError:
            return None
        except OSError:
            content = b""
        made = _decode(content, path.stem)
        if made is None:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the least recently used go first
        return made

    def store(self, job: Job, made: Made) -> None:
        """Keep an image; a full or read-only disk only means that it is not kept."""
        content = _encode(made, make_key(job))
        try:
            handle, name = tempfile.mkstemp(dir=self.directory)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                os.replace(name, self._path(job))
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(name)
                return
            self._stored_bytes += len(content)
            if self._stored_bytes > self.bytes_max * LOOK_AGAIN:
                self._evict()
                self._stored_bytes = 0
        except OSError:
            return

    def _path(self, job: Job) -> Path:
        return self.directory / (make_key(job) + _SUFFIX)

    def _evict(self) -> None:
        files: list[tuple[float, int, Path]] = []
        for path in self.directory.iterdir():
            with contextlib.suppress(OSError):
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in files)
        if total <= self.bytes_max * (1 - LOOK_AGAIN):
            return
        for _, size, path in sorted(files):
            if total <= self.bytes_max * EVICT_TO:
                return
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size


def make_key(job: Job) -> str:
    """Return the digest of all that decides about the native code."""
    digest = hashlib.sha256(find_compiler_digest().encode())
    digest.update(f"|{job.target.value}|{job.tier.value}|{job.constants_bytes}|".encode())
    digest.update(job.code)
    return digest.hexdigest()


@cache
def find_compiler_digest() -> str:
    """Return a digest of the compiler: LLVM's binding, the ABI, and our own sources."""
    digest = hashlib.sha256(f"llvmlite {metadata.version('llvmlite')} ABI {abi.ABI_VERSION}".encode())
    dataplane, program = (
        Path(str(package.__file__)).parent for package in (zeroserve_dataplane, zeroserve_ir.program)
    )
    for directory in (dataplane / "verifier", dataplane / "jit", program):
        for path in sorted(directory.glob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _read_own(path: Path) -> bytes:
    """Return a file that nobody but this user can have written, else nothing; raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        shared = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or shared:
            return b""
        return file.read(_FILE_BYTES_MAX)


def _encode(made: Made, key: str) -> bytes:
    digest = _digest(key, made.entry, made.exposure, made.text)
    return _HEAD.pack(_MAGIC, made.entry, made.exposure, digest) + made.text


def _decode(content: bytes, key: str) -> Made | None:
    if len(content) <= _HEAD.size:
        return None
    magic, entry, exposure, digest = _HEAD.unpack_from(content)
    text = content[_HEAD.size :]
    if magic != _MAGIC or _digest(key, entry, exposure, text) != digest or entry >= len(text):
        return None
    return Made(text, entry, Exposure(exposure))


def _digest(key: str, entry: int, exposure: int, text: bytes) -> bytes:
    return hashlib.sha256(f"{key} {entry} {exposure} ".encode() + text).digest()
