"""A real Discovery server and a real agent's stream over loopback."""

import asyncio
import contextlib
from dataclasses import dataclass, field

import pytest
from zeroserve_dataplane.subscribing import Subscriber, SubscribingSettings
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import SnapshotDraft, make_resource

PATIENCE_S = 60


def make_draft(*ports: int, certificate: bytes = b"") -> SnapshotDraft:
    resources = [make_resource(pb.Listener(name=f"http-{port}", port=port)) for port in ports]
    if certificate:
        resources.append(make_resource(pb.Certificate(name="large", key=certificate)))
    return SnapshotDraft.of(resources)


@dataclass
class Recorder:
    """Stands where the agent's core is: keeps what it is given, refuses what it is told to."""

    held: SnapshotDraft = field(default_factory=lambda: SnapshotDraft.of([]))
    applied: list[SnapshotDraft] = field(default_factory=list)
    refuse: list = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __post_init__(self) -> None:
        self.gate.set()

    async def apply(self, draft):
        async with self.changed:
            self.applied.append(draft)
            self.changed.notify_all()
        await self.gate.wait()
        return list(self.refuse)

    async def until(self, draft) -> None:
        async with asyncio.timeout(PATIENCE_S), self.changed:
            await self.changed.wait_for(
                lambda: bool(self.applied) and self.applied[-1].version == draft.version
            )


@pytest.fixture
def subscribe():
    """Return a context manager that keeps a stream open for a recorder."""

    @contextlib.asynccontextmanager
    async def run(recorder, port, node="node-1", **options):
        settings = SubscribingSettings(f"127.0.0.1:{port}", node, "0.1.0", "x86_64", **options)
        subscriber = Subscriber(settings, lambda: recorder.held, recorder.apply)
        task = asyncio.create_task(subscriber.run())
        try:
            yield subscriber
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    return run


async def until(condition, seconds: float = PATIENCE_S) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
