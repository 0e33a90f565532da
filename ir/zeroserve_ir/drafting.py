"""Snapshot drafts: all that a data plane shall serve, as content-addressed resources.

In: messages of `proto/zeroserve/v1/resources.proto`, from the operator's build or from `sites` of a
Caddyfile. Out: one frozen `SnapshotDraft`, which the operator publishes and an embedded node applies.
Rule: a resource's version is the digest of its deterministic serialisation and a snapshot's version is
the digest over its resources' names and versions, so equal input gives equal versions in every process.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from google.protobuf.message import Message

from zeroserve_ir._pb import resources_pb2 as pb

ResourceKey = tuple[int, str]
"""(ResourceType, name)."""

TYPE_OF_MESSAGE: Mapping[type[Message], pb.ResourceType.ValueType] = MappingProxyType(
    {
        pb.Settings: pb.SETTINGS,
        pb.Listener: pb.LISTENER,
        pb.Certificate: pb.CERTIFICATE,
        pb.Endpoints: pb.ENDPOINTS,
        pb.Cluster: pb.CLUSTER,
        pb.Program: pb.PROGRAM,
        pb.Image: pb.IMAGE,
        pb.Tables: pb.TABLES,
        pb.VirtualHost: pb.VIRTUAL_HOST,
        pb.Plugin: pb.PLUGIN,
        pb.Purge: pb.PURGE,
    }
)
SETTINGS_NAME = "settings"
PARTS = 256
"""Of 30,000 resources each holds 120."""


@dataclass(frozen=True, slots=True)
class Step:
    """How one draft came from another: whoever serves that one needs not compare them."""

    since: str
    """The other's version."""
    touched: frozenset[ResourceKey]
    """What may have been put or removed; everything else is the same."""


@dataclass(frozen=True, slots=True)
class SnapshotDraft:
    """A complete, immutable set of resources; `version` is equal where the resources are."""

    resources: Mapping[ResourceKey, pb.Resource]
    version: str
    step: Step | None = field(default=None, compare=False, repr=False)

    @staticmethod
    def of(resources: Iterable[pb.Resource]) -> SnapshotDraft:
        """Collect resources; of two with one key the later one stays."""
        by_key = {(int(resource.type), resource.name): resource for resource in resources}
        return SnapshotDraft(MappingProxyType(by_key), digest_snapshot(by_key))


EMPTY_DRAFT_VERSION = hashlib.sha256().hexdigest()


def digest_snapshot(resources: Mapping[ResourceKey, pb.Resource]) -> str:
    """Return the version of a snapshot of these resources; `SnapshotDigest` says how it is made."""
    return digest_versions({key: resource.version for key, resource in resources.items()})


def digest_versions(versions: Mapping[ResourceKey, str]) -> str:
    """Return the version of a snapshot whose resources have these versions."""
    return SnapshotDigest(versions).digest()


class SnapshotDigest:
    """The version of a snapshot that changes: hex SHA-256 over the SHA-256s of its parts that hold something.

    A key's CRC-32 gives its part; a part is its (type, name, version)s, sorted. So a change of one resource
    hashes one part anew, whatever else there is.
    """

    def __init__(self, versions: Mapping[ResourceKey, str]) -> None:
        self._parts: list[dict[ResourceKey, str]] = [{} for _ in range(PARTS)]
        self._digests = [b""] * PARTS
        self._stale: set[int] = set()
        for key, version in versions.items():
            self.put(key, version)

    def put(self, key: ResourceKey, version: str) -> None:
        """Add a resource, or give it another version."""
        part = _find_part(key)
        self._parts[part][key] = version
        self._stale.add(part)

    def remove(self, key: ResourceKey) -> None:
        """Take a resource away, if it is there."""
        part = _find_part(key)
        if self._parts[part].pop(key, None) is not None:
            self._stale.add(part)

    def digest(self) -> str:
        """Return the version of what is there now."""
        for part in self._stale:
            self._digests[part] = _digest_part(self._parts[part])
        self._stale.clear()
        return hashlib.sha256(b"".join(self._digests)).hexdigest()


def _find_part(key: ResourceKey) -> int:
    return zlib.crc32(f"{key[0]} {key[1]}".encode()) % PARTS


def _digest_part(versions: Mapping[ResourceKey, str]) -> bytes:
    if not versions:
        return b""
    lines = [f"{kind}\0{name}\0{versions[kind, name]}\n" for kind, name in sorted(versions)]
    return hashlib.sha256("".join(lines).encode()).digest()


def digest_payload(payload: bytes) -> str:
    """Return a resource's version: the hex SHA-256 of its payload."""
    return hashlib.sha256(payload).hexdigest()


def make_resource(message: Message, name: str = "") -> pb.Resource:
    """Wrap a message as a resource; its name is the message's own unless given (Settings has none)."""
    kind = TYPE_OF_MESSAGE[type(message)]
    payload = message.SerializeToString(deterministic=True)
    own = SETTINGS_NAME if kind == pb.SETTINGS else str(getattr(message, "name", ""))
    return pb.Resource(type=kind, name=name or own, version=digest_payload(payload), payload=payload)
