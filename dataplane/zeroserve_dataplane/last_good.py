"""The last good snapshot on a node, so that a restart serves without the operator.

In: the resources that the engine serves now, after each commit. Out: the newest sound copy at start, and a
ZS0701 for each damaged one. Rules: private keys never reach a disk, so another filesystem than tmpfs is
refused; a copy counts only when its digest fits (reliability.md, section 5: any flipped or missing byte is
refused); the two newest generations are kept, so that a torn write costs one generation at most.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import struct
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError
from zeroserve_ir._pb import discovery_pb2 as discovery
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.codes import Code
from zeroserve_ir.collecting import collection_paused
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.drafting import SnapshotDraft, digest_payload

GENERATIONS = 2
MEMORY_FILESYSTEMS = frozenset({"tmpfs", "ramfs"})
FILE_BYTES_MAX = 1 << 30
"""Above the largest snapshot that fits the engine's memory; keeps a stray file from being read whole."""

_MAGIC = b"zslg0001"
_HEADER = struct.Struct("<8sQQ32s")
"""Magic, generation, body bytes, SHA-256 of all that precedes the digest and of the body."""


class NotMemoryBackedError(Exception):
    """The directory would put private keys on a disk."""


class DamagedError(Exception):
    """The file is not what was written; says why."""


@dataclass(frozen=True, slots=True)
class LoadedSnapshot:
    """What was found at start: the newest sound copy, if any, and what was wrong with others."""

    draft: SnapshotDraft | None
    diagnostics: tuple[Diagnostic, ...]


class LastGood:
    """The directory of kept snapshots. Blocking; the agent calls it in a thread."""

    def __init__(self, directory: Path, *, allow_disk: bool = False) -> None:
        """Take the directory, made when missing. Raises NotMemoryBackedError, OSError."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not allow_disk and (filesystem := find_filesystem(directory)) not in MEMORY_FILESYSTEMS:
            raise NotMemoryBackedError(
                f"{directory} is on {filesystem or 'an unknown filesystem'}; snapshots hold private keys "
                "and belong on tmpfs"
            )
        self._directory = directory
        self._contact = directory / "contact"
        self._generation = 0
        self._writing = threading.Lock()
        self._kept_version = ""
        """Of the newest copy; "" where there is none, or another one was damaged."""

    def load(self) -> LoadedSnapshot:
        """Return the newest sound copy; never raises for what a file holds."""
        with collection_paused(for_life=True):
            return self._load()

    def _load(self) -> LoadedSnapshot:
        draft: SnapshotDraft | None = None
        diagnostics: list[Diagnostic] = []
        for path in self._list_newest_first():
            try:
                if draft is None:
                    generation, draft = decode_snapshot(_read_file(path))
                    self._generation = generation
                else:
                    _check_content(_read_file(path))
            except FileNotFoundError:
                continue
            except (DamagedError, OSError) as error:
                diagnostics.append(_damaged(path, error))
        if draft is not None and not diagnostics:
            self._kept_version = draft.version
        return LoadedSnapshot(draft, tuple(diagnostics))

    def _list_newest_first(self) -> list[Path]:
        """By what the headers say, which may be damaged, too."""
        return sorted(map(self._path, range(GENERATIONS)), key=_find_generation, reverse=True)

    def save(self, draft: SnapshotDraft) -> None:
        """Write the next generation over the oldest, whole or not at all. OSError when there is no room."""
        with self._writing:
            if draft.version != self._kept_version:
                self._write(draft)

    def _write(self, draft: SnapshotDraft) -> None:
        generation = self._generation + 1
        path = self._path(generation % GENERATIONS)
        temporary = path.with_suffix(".tmp")
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        try:
            _write_file(temporary, encode_snapshot(generation, draft.resources.values(), draft.version))
            temporary.rename(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        _sync_directory(self._directory)
        self._generation, self._kept_version = generation, draft.version

    def note_contact(self) -> None:
        """The operator is heard. OSError when there is no room."""
        self._contact.touch()

    def find_silence_s(self) -> float:
        """Return for how long the operator was not heard, by the wall clock; infinite where it never was."""
        try:
            return time.time() - self._contact.stat().st_mtime
        except OSError:
            return math.inf

    def _path(self, slot: int) -> Path:
        return self._directory / f"snapshot-{slot}"


def encode_snapshot(generation: int, resources: Iterable[pb.Resource], version: str) -> bytes:
    """Return the file's content."""
    response = discovery.DiscoveryResponse(snapshot=version, resources=resources, last=True)
    body = response.SerializeToString(deterministic=True)
    return _HEADER.pack(_MAGIC, generation, len(body), _digest(generation, body)) + body


def decode_snapshot(content: bytes) -> tuple[int, SnapshotDraft]:
    """Return generation and snapshot of a file's content. Raises DamagedError."""
    generation, body = _check_content(content)
    return generation, _decode_body(body)


def _find_generation(path: Path) -> int:
    try:
        with path.open("rb") as file:
            _, generation, _, _ = _HEADER.unpack(file.read(_HEADER.size))
    except (OSError, struct.error):
        return -1
    return int(generation)


def _check_content(content: bytes) -> tuple[int, bytes]:
    """Return generation and body of what was written whole, and is as it was written. Raises DamagedError."""
    if len(content) < _HEADER.size:
        raise DamagedError(f"{len(content)} bytes are less than a header")
    magic, generation, length, digest = _HEADER.unpack_from(content)
    body = content[_HEADER.size :]
    if magic != _MAGIC:
        raise DamagedError("not a snapshot, or of another version")
    if length != len(body):
        raise DamagedError(f"{len(body)} bytes of {length}")
    if digest != _digest(generation, body):
        raise DamagedError("the digest does not fit")
    return generation, body


def _decode_body(body: bytes) -> SnapshotDraft:
    try:
        response = discovery.DiscoveryResponse.FromString(body)
    except DecodeError as error:
        raise DamagedError("the content is not a snapshot") from error
    draft = SnapshotDraft.of(response.resources)
    if draft.version != response.snapshot:
        raise DamagedError("the resources are not those of the snapshot")
    for resource in draft.resources.values():
        if digest_payload(resource.payload) != resource.version:
            raise DamagedError(f"resource {resource.name} is not of its version")
    return draft


def find_filesystem(path: Path) -> str:
    """Return the type of the filesystem that holds `path`, "" when the kernel does not tell."""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split(" ")
        if fields[2] == wanted:
            return fields[fields.index("-") + 1]
    return ""


def _digest(generation: int, body: bytes) -> bytes:
    digest = hashlib.sha256(struct.pack("<8sQQ", _MAGIC, generation, len(body)))
    digest.update(body)
    return digest.digest()


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size > FILE_BYTES_MAX:
            raise DamagedError(f"larger than {FILE_BYTES_MAX} bytes")
        return file.read()


def _write_file(path: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _damaged(path: Path, error: Exception) -> Diagnostic:
    return Diagnostic(
        Code.ZS0701,
        f"{path}: {error}",
        help="an older copy or the operator's snapshot is used; delete the file if this repeats",
        severity=Severity.WARNING,
    )
