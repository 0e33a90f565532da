"""Purges of one namespace to resources that tell nodes of them.

In: its ZeroserveCachePurges. Out: one resource for each of the newest; those before them, together, are one
that forgets all of the namespace: however many there are, none is lost, and nodes hear of a bounded number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import make_resource
from zeroserve_ir.purges import ALL

from zeroserve_operator.building.collecting import ResourceCollection
from zeroserve_operator.resources.objects import ObjectKey
from zeroserve_operator.resources.parsing import View
from zeroserve_operator.resources.purges import CachePurge

PURGES_MAX = 64
"""Of a namespace, each told by itself."""


@dataclass(slots=True)
class PurgeIndex:
    """The purges known now, by namespace, and what nodes are told of them."""

    _views: dict[str, dict[ObjectKey, CachePurge]] = field(default_factory=dict)
    _told: dict[str, Mapping[ObjectKey, pb.Resource]] = field(default_factory=dict)
    _changed: set[str] = field(default_factory=set)

    def take(self, key: ObjectKey, view: View | None) -> None:
        """Take a purge as it is now; without a view it is gone."""
        views = self._views.setdefault(key.namespace, {})
        views.pop(key, None)
        if isinstance(view, CachePurge):
            views[key] = view
        self._changed.add(key.namespace)

    def build(self, resources: ResourceCollection) -> set[ObjectKey]:
        """Tell what was taken; returns the objects that it concerns."""
        touched: set[ObjectKey] = set()
        for namespace in self._changed:
            old = self._told.pop(namespace, {})
            new = build_purges(self._views[namespace].values())
            resources.count(old.values(), -1)
            resources.count(new.values(), 1)
            touched.update(old, new)
            if new:
                self._told[namespace] = new
            else:
                del self._views[namespace]
        self._changed.clear()
        return touched

    def find(self, key: ObjectKey) -> pb.Resource | None:
        """Return by which resource nodes hear of a purge."""
        return self._told.get(key.namespace, {}).get(key)


def build_purges(views: Iterable[CachePurge]) -> Mapping[ObjectKey, pb.Resource]:
    """Return by which resource nodes hear of each purge of a namespace."""
    ordered = sorted(views, key=lambda view: view.meta.age_order)
    older, newest = ordered[:-PURGES_MAX], ordered[-PURGES_MAX:]
    told = {view.meta.key: _make_purge(view, view.targets) for view in newest}
    if older:
        of_all = _make_purge(older[-1], (ALL,))
        told |= {view.meta.key: of_all for view in older}
    return MappingProxyType(told)


def _make_purge(view: CachePurge, targets: tuple[str, ...]) -> pb.Resource:
    key = view.meta.key
    # The digest holds the object's uid: one that is created again under its name is another purge.
    name = f"{key.namespace}/{key.name}/{view.meta.digest}"
    return make_resource(pb.Purge(name=name, tenant=key.namespace, targets=targets))
