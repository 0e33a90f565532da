"""Snapshot drafts: all that a data plane shall serve, as content-addressed resources.

In: messages of `proto/zeroserve/v1/resources.proto`, from the operator's build or from `sites` of a
Caddyfile. Out: one frozen `SnapshotDraft`, which the operator publishes and an embedded node applies.
Rule: a resource's version is the digest of its deterministic serialisation and a snapshot's version is
the digest over its resources' names and versions, so equal input gives equal versions in every process.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class SnapshotDraft:
    """A complete, immutable set of resources; `version` is equal where the resources are."""

    resources: Mapping[ResourceKey, pb.Resource]
    version: str

    @staticmethod
    def of(resources: Iterable[pb.Resource]) -> SnapshotDraft:
        """Collect resources; of two with one key the later one stays."""
        by_key = {(int(resource.type), resource.name): resource for resource in resources}
        return SnapshotDraft(MappingProxyType(by_key), digest_snapshot(by_key))


EMPTY_DRAFT_VERSION = hashlib.sha256().hexdigest()


def digest_snapshot(resources: Mapping[ResourceKey, pb.Resource]) -> str:
    """Return the hex SHA-256 over all (type, name, version), sorted by key."""
    return digest_versions({key: resource.version for key, resource in resources.items()})


def digest_versions(versions: Mapping[ResourceKey, str]) -> str:
    """Return the version of a snapshot whose resources have these versions."""
    lines = [_write_line(key, versions[key]) for key in sorted(versions)]
    return hashlib.sha256(b"".join(lines)).hexdigest()


class SortedVersions:
    """The versions of a snapshot that changes: a small change costs no more than hashing its lines again."""

    def __init__(self, resources: Mapping[ResourceKey, pb.Resource]) -> None:
        self._keys = sorted(resources)
        self._lines = [_write_line(key, resources[key].version) for key in self._keys]

    def put(self, key: ResourceKey, version: str) -> None:
        """Add a resource, or give it another version."""
        at, line = bisect_left(self._keys, key), _write_line(key, version)
        if at < len(self._keys) and self._keys[at] == key:
            self._lines[at] = line
        else:
            self._keys.insert(at, key)
            self._lines.insert(at, line)

    def remove(self, key: ResourceKey) -> None:
        """Take a resource away, if it is there."""
        at = bisect_left(self._keys, key)
        if at < len(self._keys) and self._keys[at] == key:
            del self._keys[at], self._lines[at]

    def digest(self) -> str:
        """Return what `digest_snapshot` does for these."""
        return hashlib.sha256(b"".join(self._lines)).hexdigest()


def _write_line(key: ResourceKey, version: str) -> bytes:
    return f"{key[0]}\0{key[1]}\0{version}\n".encode()


def digest_payload(payload: bytes) -> str:
    """Return a resource's version: the hex SHA-256 of its payload."""
    return hashlib.sha256(payload).hexdigest()


def make_resource(message: Message, name: str = "") -> pb.Resource:
    """Wrap a message as a resource; its name is the message's own unless given (Settings has none)."""
    kind = TYPE_OF_MESSAGE[type(message)]
    payload = message.SerializeToString(deterministic=True)
    own = SETTINGS_NAME if kind == pb.SETTINGS else str(getattr(message, "name", ""))
    return pb.Resource(type=kind, name=name or own, version=digest_payload(payload), payload=payload)
