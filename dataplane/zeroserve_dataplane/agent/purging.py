"""Purges that the operator tells: each is done once by this node's engine, before the change is served.

In: the `Purge` resources of what is wanted. Out: orders to the engine. Who calls: `applying`. Rule: an engine
that came anew keeps nothing, so what was done stays done; a node that may have missed purges forgets all.
"""

from __future__ import annotations

from collections.abc import Iterable

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import ResourceKey

from zeroserve_dataplane.enginelink.linking import EngineLink

FORGET_ALL = ""
"""The engine's name for everything (`PurgeCache`)."""


class Purging:
    """Remembers which purges were done."""

    def __init__(self) -> None:
        self._done: dict[str, str] = {}
        """Versions by name."""
        self._has_missed = False

    def note_done(self, resources: Iterable[pb.Resource]) -> None:
        """Take these as done: a former agent of this node did them."""
        self._done |= {resource.name: resource.version for resource in resources}

    def note_missed(self) -> None:
        """Forget everything with the next change: purges may be gone that were never heard of."""
        self._has_missed = True

    async def do(self, link: EngineLink, wanted: Iterable[pb.Resource], gone: Iterable[ResourceKey]) -> None:
        """Do what is new. Raises EngineLinkLostError; what was not done then is done the next time."""
        if self._has_missed:
            await link.purge(FORGET_ALL)
            self._has_missed = False
        for resource in wanted:
            if self._done.get(resource.name) == resource.version:
                continue
            purge = pb.Purge.FromString(resource.payload)
            for target in purge.targets:
                # Without a tenant it would be everybody's.
                if purge.tenant and target:
                    await link.purge(target, purge.tenant)
            self._done[resource.name] = resource.version
        for kind, name in gone:
            if kind == pb.PURGE:
                self._done.pop(name, None)
