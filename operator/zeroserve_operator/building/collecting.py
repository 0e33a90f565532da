"""Collecting: the resources of a draft while it changes.

In: resources of single owners, and of hosts, which may share programs, tables and clusters. Out: the draft
and what differs from the one before. Rule: a shared resource stays as long as a host needs it. The version of
the snapshot is that of `zeroserve_ir.drafting`, kept from draft to draft.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from types import MappingProxyType

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import ResourceKey, SnapshotDigest, SnapshotDraft


class ResourceCollection:
    """Resources by key, with the version of all of them."""

    def __init__(self) -> None:
        self._resources: dict[ResourceKey, pb.Resource] = {}
        self._users: Counter[ResourceKey] = Counter()
        self._digest = SnapshotDigest({})
        self._touched: set[ResourceKey] = set()

    def begin_anew(self) -> None:
        """Forget all; what was there counts as touched."""
        self._touched.update(self._resources)
        self._resources.clear()
        self._users.clear()

    def count(self, resources: Iterable[pb.Resource], step: int) -> None:
        """Add (1) or take away (-1) one user of resources."""
        for resource in resources:
            key = (int(resource.type), resource.name)
            self._users[key] += step
            if self._users[key] > 0:
                # Of one name and another content the newest stays: hosts have names of their own.
                if step > 0:
                    self.put(key, resource)
            else:
                del self._users[key]
                self.put(key, None)

    def put(self, key: ResourceKey, resource: pb.Resource | None) -> None:
        """Set or remove a resource that has one owner."""
        before = self._resources.get(key)
        if resource is None:
            if self._resources.pop(key, None) is not None:
                self._touched.add(key)
        elif before is None or before.version != resource.version:
            self._resources[key] = resource
            self._touched.add(key)

    def draft(self) -> tuple[SnapshotDraft, frozenset[ResourceKey]]:
        """Return the draft, and the keys that may differ from the draft before."""
        for key in self._touched:
            resource = self._resources.get(key)
            if resource is None:
                self._digest.remove(key)
            else:
                self._digest.put(key, resource.version)
        touched, self._touched = frozenset(self._touched), set()
        draft = SnapshotDraft(MappingProxyType(dict(self._resources)), self._digest.digest())
        return draft, touched
