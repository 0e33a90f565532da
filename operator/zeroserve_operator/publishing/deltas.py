"""What a node lacks of a snapshot, as messages that all nodes share.

In: the versions that a node holds and a published snapshot. Out: encoded `DiscoveryResponse` parts below
1 MiB. Who calls: `serving`. Rule: nodes that hold the same get the same bytes, encoded once; what differs by
stream (nonce, snapshot, last) is appended, as concatenated protobuf messages are one merged message.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from zeroserve_ir._pb import discovery_pb2 as discovery
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import SnapshotDraft

from zeroserve_operator.publishing.acknowledgements import Versions

PART_BYTES_MAX = 1 << 20
"""A quarter of gRPC's default limit; one larger resource travels alone."""
_ENVELOPE_BYTES = 512
"""Room for nonce, snapshot and the field headers of a part."""
CACHED_DELTAS_MAX = 8
"""Nodes are at the last version, or at one of the few before it."""


@dataclass(frozen=True, slots=True)
class Published:
    """A draft with its versions by key, made once for all streams."""

    draft: SnapshotDraft
    versions: Versions

    @staticmethod
    def of(draft: SnapshotDraft) -> Published:
        """Read the versions out of the draft's resources."""
        return Published(draft, {key: resource.version for key, resource in draft.resources.items()})


class DeltaCache:
    """Encoded deltas by (what is held, what is published)."""

    def __init__(self) -> None:
        self._parts: OrderedDict[tuple[str, str], tuple[bytes, ...]] = OrderedDict()

    def encode(self, held: Versions, held_digest: str, published: Published) -> tuple[bytes, ...]:
        """Return the parts that lead from `held` to `published`; at least one, which may be empty."""
        key = held_digest, published.draft.version
        if key in self._parts:
            self._parts.move_to_end(key)
            return self._parts[key]
        parts = tuple(encode_delta(held, published))
        self._parts[key] = parts
        if len(self._parts) > CACHED_DELTAS_MAX:
            self._parts.popitem(last=False)
        return parts


def encode_delta(held: Versions, published: Published) -> list[bytes]:
    """Return parts without nonce, snapshot and last: changed resources first, then what is gone."""
    parts: list[bytes] = []
    response = discovery.DiscoveryResponse()
    room = PART_BYTES_MAX - _ENVELOPE_BYTES
    for resource in _find_changed(held, published):
        size = resource.ByteSize() + 16
        if size > room and response.ByteSize():
            parts.append(response.SerializeToString())
            response.Clear()
            room = PART_BYTES_MAX - _ENVELOPE_BYTES
        response.resources.append(resource)
        room -= size
    for kind, name in sorted(held.keys() - published.versions.keys()):
        size = len(name.encode()) + 16
        if size > room:
            parts.append(response.SerializeToString())
            response.Clear()
            room = PART_BYTES_MAX - _ENVELOPE_BYTES
        response.removed.add(type=pb.ResourceType.ValueType(kind), name=name)
        room -= size
    parts.append(response.SerializeToString())
    return parts


def seal_part(part: bytes, nonce: int, snapshot: str, *, last: bool) -> bytes:
    """Append what belongs to one stream."""
    tail = discovery.DiscoveryResponse(nonce=nonce, snapshot=snapshot, last=last)
    return part + tail.SerializeToString()


def _find_changed(held: Versions, published: Published) -> Iterable[pb.Resource]:
    resources = published.draft.resources
    changed = (key for key, version in published.versions.items() if held.get(key) != version)
    return (resources[key] for key in sorted(changed))
