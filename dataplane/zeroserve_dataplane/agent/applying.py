"""The node's core: brings the engine to the wanted snapshot and keeps it there.

In: drafts, one at a time, by `apply`. Out: what is served and what was refused, once the engine says so.
Who calls: the operator's stream, or an embedded node. Rules: what served before goes on serving; the
difference to what the supervisor holds is all that is sent, so an agent that restarts sends nothing; refused
resources keep their last good version (`planning`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from zeroserve_ir._pb import control_pb2 as control
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.codes import Code
from zeroserve_ir.collecting import collection_paused
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.drafting import ResourceKey, SnapshotDraft, digest_snapshot

from zeroserve_dataplane.agent.differing import Difference, ServedWhole
from zeroserve_dataplane.agent.images import ImageStore
from zeroserve_dataplane.agent.planning import Plan, Planner, Refusal, Resources
from zeroserve_dataplane.agent.probing import Prober
from zeroserve_dataplane.agent.purging import Purging
from zeroserve_dataplane.agent.resolving import Resolver
from zeroserve_dataplane.agent.slots import PluginSlots
from zeroserve_dataplane.agent.stapling import Stapler
from zeroserve_dataplane.enginelink.linking import (
    EngineLink,
    EngineLinkLostError,
    EngineShortageError,
    SharedCounters,
    StagedPut,
)

logger = logging.getLogger(__name__)

ROUNDS_MAX = 8
"""Commits for one draft: each round takes out what the engine refused, and that ends after a few."""
RECONNECT_S = 0.1


UPGRADE_TIMEOUT_S = 150.0
"""Above the supervisor's own patience with an engine that takes over."""


class UpgradeError(Exception):
    """The engine was not replaced; the one that served serves on."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a draft."""

    served: SnapshotDraft
    """What the engine serves now, with last good versions in place of refused ones."""
    refusals: tuple[Refusal, ...]

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """The refusals' reasons."""
        return tuple(refusal.diagnostic for refusal in self.refusals)


@dataclass(slots=True)
class NodeState:
    """For metrics, readiness and `status`."""

    linked: bool = False
    engine: control.EngineState = field(default_factory=control.EngineState)
    commits: int = 0
    reconnects: int = 0
    served_version: str = ""
    served_at: float = 0.0
    apply_seconds: float = 0.0
    """Duration of the last apply."""

    @property
    def ready(self) -> bool:
        """Whether the engine runs and serves a snapshot."""
        return self.linked and self.engine.running and bool(self.served_version)


class Node:
    """One node; `run` must be running for `apply` to end."""

    def __init__(self, socket: Path, version: str, images: ImageStore, resolver: Resolver) -> None:
        self.state = NodeState()
        self.images = images
        self.good = SnapshotDraft.of([])
        self.counters: SharedCounters | None = None
        self.on_served: Callable[[SnapshotDraft], None] = lambda draft: None
        self.socket = socket
        self._version = version
        self._resolver = resolver
        self.prober = Prober()
        self._stapler = Stapler()
        self.slots = PluginSlots()
        self.purging = Purging()
        self._planner = Planner()
        self._whole: ServedWhole | None = None
        """None where something is refused, or the link is new."""
        self._wanted: SnapshotDraft | None = None
        self._refused: dict[ResourceKey, tuple[str, Diagnostic]] = {}
        self._held: dict[ResourceKey, str] = {}
        self._is_short = False
        """The engine had no room for the last change."""
        self._link: EngineLink | None = None
        self._linked = asyncio.Event()
        self._working = asyncio.Lock()
        self._engine_changed = asyncio.Event()

    async def run(self) -> None:
        """Keep the link to the supervisor open until cancelled. EngineRefusedError on another ABI."""
        try:
            while True:
                try:
                    link = await EngineLink.connect(
                        self.socket, self._version, self._take_state, self._take_counters
                    )
                except EngineLinkLostError as error:
                    logger.debug("engine: %s", error)
                    await asyncio.sleep(RECONNECT_S)
                    continue
                await self._keep_link(link)
        finally:
            self.prober.close()
            await self._drop_link()

    async def apply(self, draft: SnapshotDraft) -> Outcome:
        """Serve a draft; returns when every worker of the engine does."""
        async with self._working:
            begin = time.monotonic()
            self._wanted = draft
            change = self._whole.compare(draft) if self._whole else None
            select = change.select if change else lambda kind: _select(draft, kind)
            looking_up = self._resolver.ensure(select(pb.ENDPOINTS))
            missing = self.images.find_missing(select(pb.PROGRAM))
            # Each task is a turn of the loop more: none is made to do nothing.
            await (asyncio.gather(looking_up, self.images.make(missing)) if missing else looking_up)
            outcome = await self._commit_until_served(draft, change)
            self.state.apply_seconds = time.monotonic() - begin
        return outcome

    async def optimise(self) -> int:
        """Recompile what was compiled fast, then swap it in; the number of images that changed."""
        improved = 0
        for program in _select(self.good, pb.PROGRAM):
            improved += await self.images.optimise(program)
            if self._working.locked():
                break  # Changes wait for the worker, and so do programs that are left.
        if improved:
            await self._commit_again(pb.PROGRAM)
        return improved

    @property
    def refresh_s(self) -> float:
        """Seconds between two looks at upstream names."""
        return self._resolver.refresh_s

    async def refresh_names(self) -> bool:
        """Resolve upstream names again; whether the engine got other addresses."""
        changed = await self._resolver.refresh(_select(self.good, pb.ENDPOINTS))
        if changed:
            await self._commit_again(pb.ENDPOINTS)
        return changed

    async def refresh_staples(self) -> bool:
        """Ask authorities about certificates where it is time; whether the engine got other responses."""
        settings = pb.Settings()
        for resource in _select(self.good, pb.SETTINGS):
            settings = pb.Settings.FromString(resource.payload)
        changed = await self._stapler.refresh(_select(self.good, pb.CERTIFICATE), settings)
        if changed:
            await self._commit_again(pb.CERTIFICATE)
        return changed

    async def apply_health(self) -> None:
        """Tell the engine what probes found, each time they found something else; until cancelled."""
        while True:
            await self.prober.changed.wait()
            self.prober.changed.clear()
            await self._commit_again(pb.CLUSTER)

    def _watch_health(self, served: SnapshotDraft) -> None:
        def find_endpoints(name: str) -> pb.Resource | None:
            resource = served.resources.get((int(pb.ENDPOINTS), name))
            return self._resolver.resolve(resource) if resource is not None else None

        self.prober.watch(_select(served, pb.CLUSTER), find_endpoints)

    async def retry_refused(self) -> None:
        """Offer again what may be taken now: listeners, and what the engine had no room for.

        All else is refused for what it holds.
        """
        kept = {key: entry for key, entry in self._refused.items() if key[0] != pb.LISTENER}
        if self._is_short or len(kept) < len(self._refused):
            self._is_short, self._refused = False, kept
            await self._commit_again()

    async def drain(self, timeout_ms: int) -> None:
        """Ask the engine to finish what runs and to leave."""
        if self._link is not None:
            await self._link.drain(timeout_ms, leave=True)

    async def upgrade(self) -> None:
        """Replace the engine by the binary installed now, while it serves. UpgradeError if it was not."""
        if self._link is None:
            raise UpgradeError("no engine runs")
        done, failed = self.state.engine.upgrades, self.state.engine.upgrades_failed
        await self._link.upgrade()
        try:
            async with asyncio.timeout(UPGRADE_TIMEOUT_S):
                while self.state.engine.upgrades == done:
                    if self.state.engine.upgrades_failed > failed:
                        raise UpgradeError("the new engine did not come to serve; the former one serves on")
                    await self._engine_changed.wait()
                    self._engine_changed.clear()
        except TimeoutError as error:
            raise UpgradeError(f"no new engine in {UPGRADE_TIMEOUT_S:.0f} s; see the engine's log") from error

    async def purge(self, target: str) -> int:
        """Forget kept answers of the engine; returns how many (`PurgeCache` says what a target is)."""
        if self._link is None:
            return 0
        return await self._link.purge(target)

    async def _commit_again(self, kind: int | None = None) -> None:
        """Offer what is wanted once more: all of it, or the resources of the kind whose rendering changed."""
        async with self._working:
            wanted = self._wanted
            if wanted is None:
                return
            change = None
            if kind is not None and self._whole is not None and self._whole.holds(wanted.resources):
                change = Difference({(kind, item.name): item for item in _select(wanted, kind)}, ())
            await self._commit_until_served(wanted, change)

    async def _commit_until_served(self, draft: SnapshotDraft, change: Difference | None = None) -> Outcome:
        while True:
            await self._linked.wait()
            assert self._link is not None
            try:
                # Whoever waits for a change waits for no garbage: what it makes lives on.
                with collection_paused():
                    return await self._commit_rounds(self._link, draft, change)
            except EngineLinkLostError as error:
                logger.warning("engine link lost during a commit: %s", error)
                self._linked.clear()
                change = None

    async def _commit_rounds(
        self, link: EngineLink, draft: SnapshotDraft, change: Difference | None
    ) -> Outcome:
        for _ in range(ROUNDS_MAX):
            if change is not None and not self._is_served_whole(draft, change):
                change = None
            # Until it is served, nothing is known to be served whole.
            whole, self._whole = self._whole, None
            if change is None:
                whole = None
                refused_before = self._find_refused(draft)
                plan = self._planner.plan(draft.resources, self.good.resources, refused_before)
            else:
                plan = Plan(draft.resources, ())
            try:
                refused = await self._commit(link, plan, draft.version, change)
            except EngineShortageError as error:
                return self._put_off(draft, error)
            if not refused:
                await self._purge(link, plan.resources, change)
                self._whole = whole
                return self._note_served(draft, plan, change)
            self._note_refused(draft, plan, refused)
            change = None
        logger.error("defect: %d commits did not lead to a snapshot that the engine takes", ROUNDS_MAX)
        return self._refuse(draft, Diagnostic(Code.ZS0702, "the node cannot serve the snapshot"))

    async def _purge(self, link: EngineLink, resources: Resources, change: Difference | None) -> None:
        if change is not None:
            await self.purging.do(link, change.select(pb.PURGE), change.removed)
            return
        gone = [key for key in self.good.resources if key[0] == pb.PURGE and key not in resources]
        await self.purging.do(link, [one for key, one in resources.items() if key[0] == pb.PURGE], gone)

    def _is_served_whole(self, draft: SnapshotDraft, change: Difference) -> bool:
        """Whether all of a small change can be served as it is."""
        if self._refused or self._whole is None:
            return False
        if any(self.images.find_refusal(program) for program in change.select(pb.PROGRAM)):
            return False
        return self._whole.take(draft, change)

    def _find_refused(self, draft: SnapshotDraft) -> dict[ResourceKey, Diagnostic]:
        """Return what of a draft is refused: by the verifier, or by the engine at this version."""
        refused = {
            key: why
            for key, (version, why) in self._refused.items()
            if key in draft.resources and draft.resources[key].version == version
        }
        for program in _select(draft, pb.PROGRAM):
            why = self.images.find_refusal(program)
            if why is not None:
                refused[int(pb.PROGRAM), program.name] = why
        return refused

    async def _commit(
        self, link: EngineLink, plan: Plan, snapshot: str, change: Difference | None
    ) -> Mapping[ResourceKey, control.RefusedResource]:
        target = self._render(plan.resources if change is None else change.put)
        puts = {key: put for key, put in target.items() if self._held.get(key) != put.resource.version}
        if change is None:
            removes = [key for key in self._held if key not in target]
        else:
            removes = [key for key in map(_find_held_key, change.removed) if key in self._held]
        if not puts and not removes and self.state.served_version:
            return {}
        answer = await link.commit(puts.values(), removes, snapshot, start=False)
        if self._link is not link:
            raise EngineLinkLostError("another link took its place")
        self.state.commits += 1
        refused = {(int(item.type), item.name): item for item in answer.refused}
        if len(refused) == len(puts) > 0:
            # All of it, as when engines die over a change: then nothing was removed either.
            return refused
        for key in removes:
            del self._held[key]
        self._held |= {key: put.resource.version for key, put in puts.items() if key not in refused}
        return refused

    def _render(self, resources: Resources) -> dict[ResourceKey, StagedPut]:
        """Return what the engine shall hold: images for programs, literals for names."""
        target: dict[ResourceKey, StagedPut] = {}
        plugins = frozenset(name for kind, name in resources if kind == pb.PLUGIN)
        for key, resource in resources.items():
            if key[0] == pb.PROGRAM:
                image = self.images.find(resource)
                if image is not None:
                    target[int(pb.IMAGE), resource.name] = StagedPut(image.resource, image.code)
            elif key[0] == pb.PURGE:
                continue
            elif key[0] == pb.CLUSTER:
                target[key] = StagedPut(self.prober.render(resource))
            elif key[0] == pb.CERTIFICATE:
                target[key] = StagedPut(self._stapler.render(resource))
            elif key[0] == pb.PLUGIN:
                target[key] = StagedPut(self.slots.place(resource, plugins))
            elif key[0] == pb.ENDPOINTS:
                target[key] = StagedPut(self._resolver.resolve(resource))
            else:
                target[key] = StagedPut(resource)
        return target

    def _note_refused(
        self, draft: SnapshotDraft, plan: Plan, refused: Mapping[ResourceKey, control.RefusedResource]
    ) -> None:
        keys = {(int(pb.PROGRAM) if kind == pb.IMAGE else kind, name) for kind, name in refused}
        for (kind, name), item in refused.items():
            planned = plan.resources.get((kind, name))
            if planned is not None and self._planner.depends(planned, plan.resources, keys):
                continue  # It is refused only for what it refers to; the next plan judges it anew.
            if kind == pb.IMAGE:
                program = plan.resources[int(pb.PROGRAM), name]
                image = self.images.find(program)
                if image is not None and image.tier is not None:
                    self.images.interpret(program)
                    continue
            key = (int(pb.PROGRAM) if kind == pb.IMAGE else kind, name)
            wanted = draft.resources.get(key)
            logger.error("the engine refused %s %s: %s", pb.ResourceType.Name(item.type), name, item.reason)
            if wanted is not None:
                why = Diagnostic(Code.ZS0702, f"{name}: {item.reason}", help=_find_cure(item))
                self._refused[key] = (wanted.version, why)

    def _note_served(self, draft: SnapshotDraft, plan: Plan, change: Difference | None) -> Outcome:
        served = draft
        if plan.refusals:
            served = SnapshotDraft(MappingProxyType(dict(plan.resources)), digest_snapshot(plan.resources))
        elif change is None:
            self._whole = ServedWhole(self._planner, draft)
        changed = served.version != self.good.version
        self.good = served
        if change is None or self.prober.concerns(change.select(pb.CLUSTER)):
            self._watch_health(served)
        if change is None or change.touches(pb.PROGRAM):
            self.images.retain([*_select(served, pb.PROGRAM), *_select(draft, pb.PROGRAM)])
        self.state.served_version = draft.version
        self.state.served_at = time.time()
        self._refused = {
            key: entry
            for key, entry in self._refused.items()
            if key in draft.resources and draft.resources[key].version == entry[0]
        }
        if changed:
            self.on_served(served)
        return Outcome(served, plan.refusals)

    def _put_off(self, draft: SnapshotDraft, shortage: EngineShortageError) -> Outcome:
        """Refuse the whole change until `retry_refused`; what was served before is."""
        self._is_short = True
        logger.error("the engine took nothing of a change: %s", shortage)
        reason, _, cure = str(shortage).partition(": ")
        message = f"nothing of the change is served: {reason}"
        return self._refuse(draft, Diagnostic(Code.ZS0702, message, help=cure))

    def _refuse(self, draft: SnapshotDraft, why: Diagnostic) -> Outcome:
        good = self.good.resources
        changed = (key for key, item in draft.resources.items() if key not in good or good[key] != item)
        return Outcome(self.good, tuple(Refusal(key, draft.resources[key].version, why) for key in changed))

    async def _keep_link(self, link: EngineLink) -> None:
        self._link = link
        self._held = dict(link.retained)
        self._whole = None
        self.state.linked = True
        self._linked.set()
        if self._wanted is not None:
            self.state.reconnects += 1
            resync = asyncio.create_task(self._resync())
        else:
            resync = None
        try:
            await link.lost.wait()
            logger.warning("the engine's supervisor is gone, connecting again")
        finally:
            if resync is not None:
                resync.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await resync
            await self._drop_link()

    async def _resync(self) -> None:
        """Feed a supervisor that came back, unless an apply that waits for the link does it."""
        if not self._working.locked():
            await self._commit_again()

    async def _drop_link(self) -> None:
        self.state.linked = False
        self._linked.clear()
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    def _take_state(self, state: control.EngineState) -> None:
        self.state.engine = state
        self._engine_changed.set()
        logger.info(
            "engine %s, pid %d, restarts %d",
            "runs" if state.running else "is gone",
            state.pid,
            state.restarts,
        )

    def _take_counters(self, counters: SharedCounters) -> None:
        self.counters = counters


def _find_held_key(key: ResourceKey) -> ResourceKey:
    """Under which key the engine holds a resource."""
    return (int(pb.IMAGE), key[1]) if key[0] == pb.PROGRAM else key


def _select(draft: SnapshotDraft, kind: int) -> list[pb.Resource]:
    return [resource for key, resource in draft.resources.items() if key[0] == kind]


def _find_cure(refused: control.RefusedResource) -> str:
    """Return what helps against what the engine says, where that is always the same."""
    if refused.type != pb.LISTENER:
        return ""
    if "in use" in refused.reason:
        return "end the process that has the port (`ss -tulpn` names it), or listen at another"
    if "denied" in refused.reason:
        return "listen at a port above 1023, or run with CAP_NET_BIND_SERVICE"
    return ""
