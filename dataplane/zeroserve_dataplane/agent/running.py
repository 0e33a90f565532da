"""The agent process of a Pod: stream, core, last good snapshot, metrics, until it is told to stop.

In: `AgentSettings`. Out: nothing; returns after SIGTERM or SIGINT. Who calls: `zeroserve agent`. Rules: the
last good snapshot is served before the operator was asked; without both, nothing is served and the node is
not ready; when the agent leaves, the engine goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
import signal

from zeroserve_ir._pb import discovery_pb2 as discovery
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import SnapshotDraft
from zeroserve_ir.purges import AWAY_S

from zeroserve_dataplane.agent.applying import Node
from zeroserve_dataplane.agent.exporting_spans import SpanSink
from zeroserve_dataplane.agent.granting import TokenServer
from zeroserve_dataplane.agent.images import ImageStore
from zeroserve_dataplane.agent.planning import Refusal
from zeroserve_dataplane.agent.receiving_logs import LogReceiver
from zeroserve_dataplane.agent.resolving import Resolver
from zeroserve_dataplane.agent.upkeep import keep_up
from zeroserve_dataplane.jit.compiling import Compiler
from zeroserve_dataplane.jit.targets import find_host_target
from zeroserve_dataplane.last_good import LastGood
from zeroserve_dataplane.metrics import MetricsServer, NodeCollector
from zeroserve_dataplane.settings import AgentSettings, find_version
from zeroserve_dataplane.subscribing import Subscriber, SubscribingSettings

logger = logging.getLogger(__name__)

SAVE_AFTER_S = 0.5
"""Quiet time before a snapshot is written: a burst of changes is written once."""
HEARTBEAT_S = 1.0
SPANS_LEFT_S = 2.0
"""When it leaves, an agent sends the spans that wait for so long."""


class Agent:
    """One agent; `run` ends when `stop` is set."""

    def __init__(self, settings: AgentSettings) -> None:
        """NotMemoryBackedError, OSError where the state directory cannot be used."""
        self.settings = settings
        self.stop = asyncio.Event()
        self.compiler = Compiler(settings.cache_directory, settings.compile_workers)
        images = ImageStore(self.compiler, find_host_target())
        self.node = Node(settings.engine_socket, find_version(), images, Resolver(settings.zone))
        self.node.on_served = self._note_served
        self.subscriber = Subscriber(self._find_subscription(), lambda: self.node.good, self._apply)
        self.tokens = TokenServer(settings.token_socket)
        self.spans = SpanSink()
        self.collector = NodeCollector(self.node, self.subscriber.state, self.tokens, self.spans)
        self._last_good = LastGood(settings.state_directory, allow_disk=settings.allow_state_on_disk)
        self._unsaved: SnapshotDraft | None = None
        self._saving = asyncio.Event()
        self._is_caught_up = False

    async def run(self) -> None:
        """Run until `stop` is set. Raises what ended a part of the agent."""
        metrics = MetricsServer(self.settings.metrics_address, self.settings.metrics_port, self.collector)
        parts = [
            asyncio.create_task(work, name=name)
            for name, work in (
                ("engine link", self.node.run()),
                ("operator", self._follow()),
                ("upkeep", keep_up(self.node)),
                ("saving", self._save_forever()),
                ("heartbeat", self._beat(metrics)),
                ("tokens", self._grant_tokens()),
                ("spans", self._receive_spans()),
                ("stop", self.stop.wait()),
            )
        ]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            await self._save()
            metrics.close()
            await self.compiler.close()

    async def _follow(self) -> None:
        loaded = await asyncio.to_thread(self._last_good.load)
        for diagnostic in loaded.diagnostics:
            logger.warning("%s", diagnostic.render_short())
        if loaded.draft is not None:
            logger.info("serving the last good snapshot %s", loaded.draft.version[:12])
            self.node.purging.note_done(
                item for key, item in loaded.draft.resources.items() if key[0] == pb.PURGE
            )
            await self.node.apply(loaded.draft)
        await self.subscriber.run()

    async def _apply(self, draft: SnapshotDraft) -> list[discovery.Refusal]:
        self._is_caught_up = False
        if self._last_good.find_silence_s() > AWAY_S:
            self.node.purging.note_missed()
        outcome = await self.node.apply(draft)
        self._is_caught_up = True
        self._note_contact()
        logger.info(
            "snapshot %s served in %.0f ms, %d refused",
            draft.version[:12],
            self.node.state.apply_seconds * 1000,
            len(outcome.refusals),
        )
        return [_encode_refusal(refusal) for refusal in outcome.refusals]

    def _note_served(self, draft: SnapshotDraft) -> None:
        self._unsaved = draft
        self._saving.set()

    async def _save_forever(self) -> None:
        while True:
            await self._saving.wait()
            await asyncio.sleep(SAVE_AFTER_S)
            await self._save()

    async def _save(self) -> None:
        draft = self._unsaved
        self._saving.clear()
        if draft is None:
            return
        try:
            await asyncio.to_thread(self._last_good.save, draft)
        except OSError as error:
            self.collector.save_failures += 1
            logger.error("the last good snapshot is not saved: %s", error)
        # Not before: whoever is told to stop meanwhile waits for it once more.
        if self._unsaved is draft:
            self._unsaved = None

    def _note_contact(self) -> None:
        """Remember when the operator was heard last, also for the agent that comes after this one."""
        if self.subscriber.state.connected and self._is_caught_up:
            with contextlib.suppress(OSError):
                self._last_good.note_contact()

    async def _beat(self, metrics: MetricsServer) -> None:
        while True:
            metrics.beat()
            self._note_contact()
            await asyncio.sleep(HEARTBEAT_S)

    async def _grant_tokens(self) -> None:
        async with self.tokens:
            await self.tokens.set_store(self.settings.limit_store)
            await asyncio.Event().wait()

    async def _receive_spans(self) -> None:
        receiver = LogReceiver(self.settings.log_socket, self.spans)
        try:
            await asyncio.Event().wait()
        finally:
            # Engines go on: nobody waits for the end of what they send.
            await asyncio.to_thread(self.spans.close, SPANS_LEFT_S)
            receiver.close(0.0)

    def _find_subscription(self) -> SubscribingSettings:
        settings = self.settings
        credentials = settings.credentials_directory
        return SubscribingSettings(
            operator=settings.operator,
            node=settings.node,
            agent_version=find_version(),
            target=platform.machine(),
            ca_file=credentials / "ca.crt" if credentials else None,
            token_file=credentials / "token" if credentials else None,
        )


async def run_agent(settings: AgentSettings) -> None:
    """Run an agent until SIGTERM or SIGINT."""
    agent = Agent(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop.set)
    try:
        await agent.run()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError):
                loop.remove_signal_handler(number)


def _encode_refusal(refusal: Refusal) -> discovery.Refusal:
    kind, name = refusal.key
    return discovery.Refusal(
        type=pb.ResourceType.ValueType(kind),
        name=name,
        version=refusal.version,
        code=refusal.diagnostic.code.name,
        message=refusal.diagnostic.render_short(),
    )
