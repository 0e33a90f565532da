"""Running: the operator process, from watches to published snapshots and statuses.

In: `OperatorSettings`, a publisher and the election. Out: nothing; runs until stopped. Rules: nothing is
published before all objects were listed once; while building fails, what was published stays; a replica that
was cut off from the API server serves nobody until it knows again what the cluster holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from zeroserve_ir.drafting import ResourceKey, SnapshotDraft

from zeroserve_operator.artifacts.following import ArtifactFollower
from zeroserve_operator.artifacts.keeping import ArtifactKeeper
from zeroserve_operator.building_process import BuildProcess, BuildProcessError
from zeroserve_operator.cluster_client import ClusterClient, ClusterError
from zeroserve_operator.coalescing import Coalescer
from zeroserve_operator.default_secrets import ensure_default_certificate
from zeroserve_operator.freshness import Freshness
from zeroserve_operator.handlers import run_watches
from zeroserve_operator.leading import Election
from zeroserve_operator.metrics import (
    BUILD_SECONDS,
    BUILDS,
    CHANGES,
    DIAGNOSTICS,
    LEADING,
    OBJECTS,
    RESOURCES,
    Probes,
)
from zeroserve_operator.named_secrets import NamedSecrets
from zeroserve_operator.patching import STATUS_MAKERS, ObjectReport, Patcher
from zeroserve_operator.publishing.acknowledgements import Acknowledgements
from zeroserve_operator.purging import delete_old_purges
from zeroserve_operator.resources.ingresses import Ingress
from zeroserve_operator.resources.objects import Kind, ObjectKey, identify
from zeroserve_operator.resources.plugins import PluginFile
from zeroserve_operator.resyncing import find_differences, list_all, read_missed, report_missed
from zeroserve_operator.settings import OperatorSettings
from zeroserve_operator.statuses import NodeCount
from zeroserve_operator.store import Change, Effect, Store
from zeroserve_operator.waiting import wait_at_most

logger = logging.getLogger(__name__)

STATUS_INTERVAL_S = 1.0
RETRY_S = 1.0
FRESHNESS_INTERVAL_S = 1.0
RESYNC_CUT_OFF_S = 2.0
"""How often a replica that was cut off tries to compare."""
ENDING_S = 10.0
"""How long tasks may take to end when the operator stops."""
FIRST_PULLS_S = 10.0
FORWARDED_WITHIN_S = 6.0
"""So soon after the Lease changed hands the others forward to its new holder; counts wait for that."""


class Publisher(Protocol):
    """Who hands snapshots to agents."""

    @property
    def acknowledgements(self) -> Acknowledgements:
        """What the nodes answered."""
        ...

    async def publish(self, draft: SnapshotDraft) -> None:
        """Serve a snapshot from now on."""
        ...

    async def suspend(self) -> None:
        """Serve nobody until `resume`."""
        ...

    async def resume(self) -> None:
        """Serve again."""
        ...


class Operator:
    """One replica."""

    def __init__(
        self,
        settings: OperatorSettings,
        publisher: Publisher,
        client: ClusterClient,
        election: Election,
        freshness: Freshness,
    ) -> None:
        self.settings = settings
        self.publisher = publisher
        self.client = client
        self.store = Store(settings.build)
        self.process = BuildProcess(settings.build)
        self.coalescer = Coalescer(settings.holdoff_ms / 1000, settings.holdoff_max_ms / 1000)
        self.patcher = Patcher(client)
        self.secrets = NamedSecrets(
            client,
            lambda: {key for key in self.store.secrets_named() if key not in self._versions},
            self.store.accounts_named,
            self._take_secret,
        )
        self.keeper = ArtifactKeeper(client, settings.namespace, f"{settings.lease_name}-artifact")
        self.artifacts = ArtifactFollower(
            settings.registries,
            self.store.artifacts_named,
            self.store.secret,
            self._take_artifact,
            keeper=self.keeper,
        )
        self.election = election
        self.freshness = freshness
        self.stop = asyncio.Event()
        self.is_synced = False
        self._versions: dict[ObjectKey, str] = {}
        self._pending: dict[ObjectKey, Change] = {}
        self._woken = asyncio.Event()
        self._beat_s = time.monotonic()
        self._has_built = False
        self._is_serving = True
        self._led_since_s = float("inf")

    @property
    def is_alive(self) -> bool:
        """Whether the event loop turns."""
        return time.monotonic() - self._beat_s < 30

    @property
    def is_ready(self) -> bool:
        """Whether a snapshot of all objects is served."""
        return self._has_built and self._is_serving

    def observe(self, kind: Kind, raw: Mapping[str, Any], gone: bool) -> None:
        """Take a watch event."""
        key = identify(kind, raw, "")
        if not isinstance(key, ObjectKey):
            return
        if gone:
            self._versions.pop(key, None)
            self._take(*self.store.remove(key))
            return
        self._versions[key] = str((raw.get("metadata") or {}).get("resourceVersion"))
        self._take(*self.store.put(key, raw))

    async def run(self) -> None:
        """Run until stopped; a task that fails ends all."""
        await self._load_all()
        ready = asyncio.Event()
        tasks = [
            asyncio.create_task(run_watches(self.settings, self.observe, self.stop, ready), name="watches"),
            asyncio.create_task(self._build_forever(), name="building"),
            asyncio.create_task(self._resync_forever(), name="resyncing"),
            asyncio.create_task(
                self.secrets.run(self.settings.secret_refresh_s, self.settings.holdoff_ms / 1000),
                name="following Secrets",
            ),
            asyncio.create_task(self.artifacts.run(), name="following artefacts"),
            asyncio.create_task(self._judge_freshness_forever(), name="judging"),
            asyncio.create_task(self._tell_forever(), name="telling"),
            asyncio.create_task(self.election.run(self._change_leader), name="leading"),
            asyncio.create_task(self.stop.wait(), name="stopping"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self.stop.set()
            for task in done:
                task.result()
        finally:
            self.stop.set()
            for task in tasks[1:]:
                task.cancel()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ENDING_S):
                    await asyncio.gather(*tasks, return_exceptions=True)
            self.process.stop()
            await asyncio.to_thread(self.election.release)

    async def _load_all(self) -> None:
        """List everything once; until then there is nothing to publish."""
        while not self.stop.is_set():
            try:
                found = await asyncio.to_thread(
                    lambda: list(list_all(self.client, self.settings.watch_namespaces))
                )
            except ClusterError as error:
                logger.warning("objects cannot be listed yet: %s", error)
                await asyncio.sleep(RETRY_S)
                continue
            for kind, raw in found:
                self.observe(kind, raw, False)
            break
        # An empty cluster is a snapshot too: listeners, and 404 for everything.
        self.coalescer.notice(Effect.REBUILD, time.monotonic())
        with contextlib.suppress(ClusterError):
            await self.secrets.read()
        # Plugins that were served before a restart shall be in the first snapshot, by what was kept; a
        # registry that is down must not hold up everybody else's.
        await self._load_kept()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_PULLS_S):
                await self.artifacts.follow()
        self.is_synced = True
        self._woken.set()

    async def _load_kept(self) -> bool:
        if not self.settings.registries.registries:
            return True
        try:
            await asyncio.to_thread(self.keeper.load)
        except ClusterError as error:
            logger.warning("what was kept of artefacts cannot be read: %s", error)
            return False
        return True

    async def _write_kept(self) -> None:
        """Keep what was pulled, for the next start and for other replicas."""
        if self.settings.registries.registries:
            try:
                await asyncio.to_thread(self.keeper.write, tuple(self.store.artifacts_named()))
            except ClusterError as error:
                logger.warning("artefacts cannot be kept for a restart: %s", error)

    def _take(self, change: Change, effect: Effect) -> None:
        # The build process keeps an equal store: it gets what asks for nothing too, with the next build.
        self._pending[change.key] = change
        CHANGES.labels(effect.name.lower()).inc()
        self.coalescer.notice(effect, time.monotonic())
        if effect is Effect.REBUILD:
            self.secrets.want()
            if change.key.kind in (Kind.ZEROSERVE_PLUGIN, Kind.SECRET):
                self.artifacts.want()
        if effect is not Effect.NOTHING:
            self._woken.set()

    async def _build_forever(self) -> None:
        while True:
            self._beat_s = time.monotonic()
            due = self.coalescer.due() if self.is_synced else None
            now = time.monotonic()
            if due is None or due > now:
                wait_s = 5.0 if due is None else due - now
                self._woken.clear()
                await wait_at_most(self._woken, wait_s)
                continue
            await self._build(now)

    async def _build(self, begun_s: float) -> None:
        effect = self.coalescer.take(begun_s)
        had_missed = self.freshness.has_missed
        changes = list(self.store.all()) if self.process.is_fresh else list(self._pending.values())
        self._pending.clear()
        building = asyncio.create_task(self.process.build(changes, datetime.now(UTC)))
        while not building.done():
            self._beat_s = time.monotonic()
            await asyncio.wait([building], timeout=5)
        try:
            built = building.result()
        except BuildProcessError as error:
            BUILDS.labels("failed").inc()
            logger.error("%s", error)
            await asyncio.sleep(RETRY_S)
            self.coalescer.notice(effect, time.monotonic())
            return
        BUILDS.labels("built").inc()
        BUILD_SECONDS.observe(time.monotonic() - begun_s)
        await self.publisher.publish(built.draft)
        self._has_built = True
        if had_missed:
            self.freshness.note_built()

    async def _judge_freshness_forever(self) -> None:
        """Stop serving when we may know an older cluster than our siblings, and begin again."""
        while True:
            await asyncio.sleep(FRESHNESS_INTERVAL_S)
            fresh = self.freshness.is_fresh
            if fresh == self._is_serving:
                continue
            self._is_serving = fresh
            if fresh:
                logger.info("all objects are known again; serving agents")
                await self.publisher.resume()
            else:
                logger.warning("watches may be stale; agents are sent to other replicas")
                await self.publisher.suspend()

    def _measure(self) -> None:
        RESOURCES.set(len(self.process.built.draft.resources))
        counts: dict[str, int] = {}
        for outcome in self.process.built.outcomes.values():
            for item in outcome.diagnostics:
                counts[item.code.name] = counts.get(item.code.name, 0) + 1
        DIAGNOSTICS.clear()
        for code, count in counts.items():
            DIAGNOSTICS.labels(code).set(count)
        kinds: dict[Kind, int] = dict.fromkeys(Kind, 0)
        for key in self.store.views:
            kinds[key.kind] += 1
        for kind, count in kinds.items():
            OBJECTS.labels(kind.value).set(count)

    async def _resync_forever(self) -> None:
        last_s = time.monotonic()
        while True:
            await self._await_resync(last_s)
            try:
                differences = await asyncio.to_thread(
                    find_differences, self.client, self.settings.watch_namespaces, self._seen
                )
                missed = await asyncio.to_thread(
                    lambda keys: list(read_missed(self.client, keys)), differences.missed
                )
            except ClusterError as error:
                logger.warning("objects cannot be compared: %s", error)
                continue
            for key in differences.gone:
                self._versions.pop(key, None)
                self._take(*self.store.remove(key))
            for kind, raw in missed:
                self.observe(kind, raw, False)
            self.freshness.note_compared(missed=self.coalescer.pending is not Effect.NOTHING)
            report_missed(differences, time.monotonic() - last_s)
            last_s = time.monotonic()

    async def _await_resync(self, last_s: float) -> None:
        """Wait until the next comparison is due: soon, for a replica that was cut off."""
        while True:
            await asyncio.sleep(min(RESYNC_CUT_OFF_S, self.settings.resync_s))
            if not self.freshness.is_fresh or time.monotonic() - last_s >= self.settings.resync_s:
                return

    def _seen(self) -> dict[ObjectKey, str]:
        return dict(self._versions)

    def _take_secret(self, key: ObjectKey, raw: Mapping[str, Any] | None) -> None:
        """Take a Secret that was read by name, unless its kind's watch tells of it by now."""
        if key not in self._versions:
            self._take(*(self.store.remove(key) if raw is None else self.store.put(key, raw)))

    def _take_artifact(self, plugin: ObjectKey, file: PluginFile | None) -> None:
        """Take what a registry gave for a ZeroservePlugin."""
        change = Change(ObjectKey(Kind.PLUGIN_FILE, plugin.namespace, plugin.name), file)
        self._take(change, self.store.apply(change))

    def _change_leader(self, leading: bool) -> None:
        LEADING.set(leading)
        self._led_since_s = time.monotonic() if leading else float("inf")
        self.patcher.forget()

    async def _tell_forever(self) -> None:
        """Write statuses while we lead."""
        prepared = False
        while True:
            await asyncio.sleep(STATUS_INTERVAL_S)
            self._measure()
            if not self.election.is_leading or not self._has_built:
                prepared = False
                continue
            if not prepared:
                # Another leader may have kept other artefacts.
                prepared = await self._load_kept() and await asyncio.to_thread(
                    ensure_default_certificate, self.client, self.settings.build.default_certificate
                )
            if prepared:
                await self._write_kept()
            purges = self.store.purges()
            await asyncio.to_thread(delete_old_purges, self.client, purges, datetime.now(UTC))
            if self.settings.update_status:
                await asyncio.to_thread(self.patcher.write, self._reports(), self._addresses())

    def _reports(self) -> list[ObjectReport]:
        reports = []
        for key, outcome in self.process.built.outcomes.items():
            view = self.store.views.get(key)
            if view is None:
                continue
            addresses = view.addresses if isinstance(view, Ingress) else ()
            nodes = NodeCount(0, 0)
            if key.kind in STATUS_MAKERS:
                if time.monotonic() - self._led_since_s < FORWARDED_WITHIN_S:
                    continue
                nodes = count_nodes(
                    self.publisher.acknowledgements, self.process.built.draft, outcome.resources
                )
            reports.append(ObjectReport(key, view.meta.uid, outcome, nodes, addresses))
        return reports

    def _addresses(self) -> tuple[str, ...]:
        """Return what to publish: given addresses, else those of the data plane's Service."""
        if self.settings.publish_addresses:
            return self.settings.publish_addresses
        namespace, _, name = self.settings.publish_service.partition("/")
        service = self.store.service(namespace, name)
        return service.addresses if service is not None else ()


def count_nodes(
    acknowledgements: Acknowledgements, draft: SnapshotDraft, keys: Iterable[ResourceKey]
) -> NodeCount:
    """Count the nodes that serve the versions of a draft; a refusal of any resource is told by its code."""
    nodes = {state.node for state in acknowledgements.nodes}
    serving, codes = set(nodes), set()
    for key in keys:
        resource = draft.resources.get(key)
        if resource is None:
            continue
        tally = acknowledgements.tally(key, resource.version)
        serving &= set(tally.served)
        codes |= {refused.code for _, refused in tally.refused}
    return NodeCount(len(serving), len(nodes), tuple(sorted(codes)))


async def run_operator(operator: Operator, stop: asyncio.Event) -> None:
    """Run one replica until `stop` is set."""
    operator.stop = stop
    port = operator.settings.metrics_port
    probes = Probes(port, lambda: operator.is_alive, lambda: operator.is_ready)
    probes.start()
    try:
        await operator.run()
    finally:
        probes.stop()
