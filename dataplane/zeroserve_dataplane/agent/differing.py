"""Small changes: what a draft has that is not served yet, and whether that can be judged by itself.

In: the wanted resources, and those that are served with nothing refused. Out: a `Difference`, and whether all
of it may be served as it is. Who calls: `applying`. Rule: a yes is what `planning` would say of the whole
snapshot; wherever that is not plain the answer is no, and the whole is planned. So one host more among ten
thousand costs its own work, not theirs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import compress
from operator import is_not

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import ResourceKey, SnapshotDraft, Step

from zeroserve_dataplane.agent.planning import Planner, Resources

PART_MAX = 8
"""A change of more than this part of all is planned whole: by itself it would gain nothing."""
_JUDGED_WHOLE = frozenset({int(pb.PLUGIN)})
_NEVER_REPLACED = frozenset({int(pb.PROGRAM), int(pb.TABLES)})
"""Another version under the same name concerns hosts that did not change."""


@dataclass(frozen=True, slots=True)
class Difference:
    """From what is served to what is wanted; the same resource again where only its rendering is another."""

    put: Mapping[ResourceKey, pb.Resource]
    """New, or of another version."""
    removed: tuple[ResourceKey, ...]

    def select(self, kind: int) -> list[pb.Resource]:
        """Return what is put of a kind."""
        return [resource for key, resource in self.put.items() if key[0] == kind]

    def touches(self, kind: int) -> bool:
        """Whether a resource of this kind is put or removed."""
        return any(key[0] == kind for key in (*self.put, *self.removed))


def find_difference(wanted: Resources, served: Resources) -> Difference:
    """Return what leads from `served` to `wanted`."""
    # Without a line of Python for each: there are hundreds of thousands.
    others = list(compress(wanted, map(is_not, map(served.get, wanted), wanted.values())))
    added = sum(key not in served for key in others)
    if len(served) + added > len(wanted):
        others += served.keys() - wanted.keys()
    return _compare(others, wanted, served)


def follow_step(step: Step, wanted: Resources, served: Resources) -> Difference:
    """Return what `find_difference` does, where only what the step touched can differ."""
    return _compare(step.touched, wanted, served)


def _compare(keys: Collection[ResourceKey], wanted: Resources, served: Resources) -> Difference:
    """Return the difference in these resources."""
    put = {
        key: wanted[key]
        for key in keys
        if key in wanted and (key not in served or served[key].version != wanted[key].version)
    }
    return Difference(put, tuple(key for key in keys if key in served and key not in wanted))


class ServedWhole:
    """What is served with nothing refused: how many resources need each other one."""

    def __init__(self, planner: Planner, draft: SnapshotDraft) -> None:
        self._planner = planner
        self._version = draft.version
        self._resources = draft.resources
        self._needs = Counter(self._find_needed(draft.resources.values()))

    def holds(self, resources: Resources) -> bool:
        """Whether these very resources are what is served."""
        return self._resources is resources

    def compare(self, wanted: SnapshotDraft) -> Difference | None:
        """Return a change that is small, None for any other."""
        if wanted.step is not None and wanted.step.since == self._version:
            difference = follow_step(wanted.step, wanted.resources, self._resources)
        else:
            difference = find_difference(wanted.resources, self._resources)
        size = len(difference.put) + len(difference.removed)
        return difference if size * PART_MAX <= len(self._resources) + PART_MAX else None

    def take(self, wanted: SnapshotDraft, change: Difference) -> bool:
        """Whether the changed snapshot can be served as wanted; then it is what is served from now on."""
        if not self._is_plain(change):
            return False
        if not all(self._planner.is_sound(host, wanted.resources) for host in change.select(pb.VIRTUAL_HOST)):
            return False
        needs = self._count_change(change)
        if any(self._needs[key] + needs[key] > 0 for key in change.removed):
            return False
        self._needs.update(needs)
        for key in change.removed:
            del self._needs[key]
        self._version, self._resources = wanted.version, wanted.resources
        self._planner.forget(wanted.resources)
        return True

    def _is_plain(self, change: Difference) -> bool:
        if any(key[0] in _JUDGED_WHOLE for key in (*change.put, *change.removed)):
            return False
        return not any(
            key[0] in _NEVER_REPLACED and self._resources.get(key, resource) is not resource
            for key, resource in change.put.items()
        )

    def _count_change(self, change: Difference) -> Counter[ResourceKey]:
        """Return by how much the needs change."""
        needs = Counter[ResourceKey]()
        needs.update(self._find_needed(change.put.values()))
        former = (*change.put, *change.removed)
        needs.subtract(self._find_needed(self._resources[key] for key in former if key in self._resources))
        return needs

    def _find_needed(self, resources: Iterable[pb.Resource]) -> Iterable[ResourceKey]:
        return (key for resource in resources for key in self._planner.find_needed(resource))
