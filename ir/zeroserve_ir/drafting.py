"""Snapshot drafts: all that a data plane shall serve, as content-addressed resources.

In: messages of `proto/zeroserve/v1/resources.proto`, from the operator's build or from `sites` of a
Caddyfile. Out: one frozen `SnapshotDraft`, which the operator publishes and an embedded node applies.
Rule: a resource's version is the digest of its deterministic serialisation and a snapshot's version is
the digest over its resources' names and versions, so equal input gives equal versions in every process.
"""

from __future__ import annotations

import hashlib
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
    digest = hashlib.sha256()
    for kind, name in sorted(versions):
        digest.update(f"{kind}\0{name}\0{versions[kind, name]}\n".encode())
    return digest.hexdigest()


def digest_payload(payload: bytes) -> str:
    """Return a resource's version: the hex SHA-256 of its payload."""
    return hashlib.sha256(payload).hexdigest()


def make_resource(message: Message, name: str = "") -> pb.Resource:
    """Wrap a message as a resource; its name is the message's own unless given (Settings has none)."""
    kind = TYPE_OF_MESSAGE[type(message)]
    payload = message.SerializeToString(deterministic=True)
    own = SETTINGS_NAME if kind == pb.SETTINGS else str(getattr(message, "name", ""))
    return pb.Resource(type=kind, name=name or own, version=digest_payload(payload), payload=payload)
