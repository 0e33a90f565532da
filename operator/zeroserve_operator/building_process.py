"""The build process: building, rendering and lowering apart from the event loop.

In: changes of the store. Out: `BuildResult`, what became different; the parent puts the draft together. So
Lease renewal, probes and watches stay live during a long build. A process that dies is started again and fed
with all objects; what was published stays until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from types import MappingProxyType
from typing import cast

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import EMPTY_DRAFT_VERSION, ResourceKey, SnapshotDraft

from zeroserve_operator.building.model import Build, Builder, ObjectOutcome
from zeroserve_operator.resources.objects import ObjectKey
from zeroserve_operator.settings import BuildSettings
from zeroserve_operator.store import Change, Store

Encoded = tuple[int, str, str, bytes]
"""(type, name, version, payload) of a resource."""


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """Changes to take in before the build at a time."""

    changes: tuple[Change, ...]
    now: datetime


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What differs from the build before."""

    version: str
    changed: tuple[Encoded, ...]
    removed: tuple[ResourceKey, ...]
    outcomes: Mapping[ObjectKey, ObjectOutcome]
    gone: tuple[ObjectKey, ...]


@dataclass(frozen=True, slots=True)
class Built:
    """A complete build, as the parent keeps it."""

    draft: SnapshotDraft
    outcomes: Mapping[ObjectKey, ObjectOutcome]


NOTHING_BUILT = Built(SnapshotDraft(MappingProxyType({}), EMPTY_DRAFT_VERSION), MappingProxyType({}))


class BuildProcessError(Exception):
    """The build process died; what it built before stays."""


class Differ:
    """Keeps what was sent, to send only what differs."""

    def __init__(self) -> None:
        self._versions: dict[ResourceKey, str] = {}
        self._outcomes: dict[ObjectKey, ObjectOutcome] = {}

    def diff(self, build: Build) -> BuildResult:
        """Return what differs from the build before."""
        resources = build.draft.resources
        changed, removed, gone = [], [], []
        for key in build.touched:
            item = resources.get(key)
            if item is None:
                if self._versions.pop(key, None) is not None:
                    removed.append(key)
            elif self._versions.get(key) != item.version:
                self._versions[key] = item.version
                changed.append((key[0], key[1], item.version, item.payload))
        outcomes = {}
        for name in build.touched_objects:
            outcome = build.outcomes.get(name)
            if outcome is None:
                if self._outcomes.pop(name, None) is not None:
                    gone.append(name)
            elif self._outcomes.get(name) != outcome:
                outcomes[name] = self._outcomes[name] = outcome
        return BuildResult(build.draft.version, tuple(changed), tuple(removed), outcomes, tuple(gone))


def merge(before: Built, result: BuildResult) -> Built:
    """Return the build before with what differs."""
    resources = dict(before.draft.resources)
    for removed in result.removed:
        resources.pop(removed, None)
    for kind, name, version, payload in result.changed:
        resource_type = cast("pb.ResourceType.ValueType", kind)
        resources[kind, name] = pb.Resource(type=resource_type, name=name, version=version, payload=payload)
    outcomes = {**before.outcomes, **result.outcomes}
    for key in result.gone:
        outcomes.pop(key, None)
    return Built(SnapshotDraft(MappingProxyType(resources), result.version), MappingProxyType(outcomes))


class BuildProcess:
    """The parent's end: one build at a time."""

    def __init__(self, settings: BuildSettings) -> None:
        self.settings = settings
        self.built = NOTHING_BUILT
        self._context = multiprocessing.get_context("spawn")
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None
        self._last = NOTHING_BUILT

    @property
    def is_fresh(self) -> bool:
        """Whether the process knows nothing yet: the next build needs all objects."""
        return self._process is None

    async def build(self, changes: Iterable[Change], now: datetime) -> Built:
        """Build with changes; raises `BuildProcessError` when the process died, and is fresh again."""
        request = BuildRequest(tuple(changes), now)
        try:
            result = await asyncio.to_thread(self._exchange, request)
        except (EOFError, OSError) as error:
            self.stop()
            raise BuildProcessError("the build process ended; it is started again") from error
        self._last = merge(self._last, result)
        self.built = self._last
        return self.built

    def stop(self) -> None:
        """End the process."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None and self._process.is_alive():
            self._process.terminate()
            self._process.join(2)
        self._process = self._connection = None
        # A new process sends everything anew.
        self._last = NOTHING_BUILT

    def _exchange(self, request: BuildRequest) -> BuildResult:
        if self._process is None or self._connection is None:
            ours, theirs = self._context.Pipe()
            self._process = self._context.Process(
                target=serve, args=(theirs, self.settings), name="zeroserve-build", daemon=True
            )
            self._process.start()
            theirs.close()
            self._connection = ours
        self._connection.send(request)
        result = self._connection.recv()
        assert isinstance(result, BuildResult)
        return result


def serve(connection: Connection, settings: BuildSettings) -> None:
    """Run the build process until the parent hangs up."""
    # Ctrl-C and the kubelet's signal are the parent's to answer.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    store, builder, differ = Store(settings), Builder(settings), Differ()
    with contextlib.suppress(EOFError, OSError):
        while True:
            request = connection.recv()
            assert isinstance(request, BuildRequest)
            for change in request.changes:
                store.apply(change)
            connection.send(differ.diff(builder.build(store, request.now)))
