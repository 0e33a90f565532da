"""The connection to the engine's supervisor: staged changes, commits, and what the other side tells.

In: resources to put and names to remove, from the agent's loop. Out: `Committed`, once the engine serves
the change. Who calls: `agent.applying`. Rule: a commit is answered, or `EngineLinkLostError` is raised and
nothing is known about it; after a reconnect `retained` says what the supervisor holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zeroserve_ir._pb import control_pb2 as control
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import ResourceKey
from zeroserve_ir.program import abi

from zeroserve_dataplane.enginelink.frames import FrameDecoder, FrameError, encode_frame
from zeroserve_dataplane.enginelink.images import seal_code
from zeroserve_dataplane.enginelink.sockets import FrameSocket

GREETING_TIMEOUT_S = 10.0
"""The supervisor answers at once; longer means another program listens there."""
COMMIT_TIMEOUT_S = 60.0
"""Above any measured commit of 10,000 hosts, restart of the engine included."""
BATCH_BYTES = 256 << 10
"""Frames without descriptors are written together up to this size: one system call for many."""


class EngineLinkLostError(Exception):
    """The connection ended or the other side does not answer; reconnecting may help."""


class EngineShortageError(Exception):
    """The engine or its supervisor ran out of something and took nothing of a commit; later it may."""


class EngineRefusedError(Exception):
    """The other side speaks another ABI; only another binary helps."""


@dataclass(frozen=True, slots=True)
class StagedPut:
    """A resource for the engine; `code` is what an Image's memfd shall hold, None for all else."""

    resource: pb.Resource
    code: bytes | None = None


@dataclass(frozen=True, slots=True)
class SharedCounters:
    """The layout of the shared counters and the descriptor that holds them."""

    region: control.MetricsRegion
    descriptor: int


class EngineLink:
    """One live connection; replaced by a new one after `EngineLinkLostError`."""

    def __init__(
        self,
        frames: FrameSocket,
        on_state: Callable[[control.EngineState], None],
        on_counters: Callable[[SharedCounters], None],
    ) -> None:
        self.hello = control.Hello()
        self.state = control.EngineState()
        self.retained: dict[ResourceKey, str] = {}
        self.lost = asyncio.Event()
        self._frames = frames
        self._on_state = on_state
        self._on_counters = on_counters
        self._greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting: dict[int, asyncio.Future[control.Committed]] = {}
        self._purging: deque[asyncio.Future[int]] = deque()
        self._sequence = 0
        self._receiving = asyncio.create_task(self._receive(), name="engine link")

    @staticmethod
    async def connect(
        path: Path,
        version: str,
        on_state: Callable[[control.EngineState], None],
        on_counters: Callable[[SharedCounters], None],
    ) -> EngineLink:
        """Connect and greet. Raises EngineLinkLostError, or EngineRefusedError on another ABI."""
        try:
            frames = await FrameSocket.connect(path)
        except OSError as error:
            raise EngineLinkLostError(f"{path}: {error.strerror}") from error
        link = EngineLink(frames, on_state, on_counters)
        try:
            hello = control.Hello(abi=abi.ABI_VERSION, version=version)
            await link._write(control.Frame(hello=hello))
            async with asyncio.timeout(GREETING_TIMEOUT_S):
                await link._greeted
            if link.hello.abi != abi.ABI_VERSION:
                raise EngineRefusedError(f"engine has ABI {link.hello.abi}, this agent {abi.ABI_VERSION}")
        except TimeoutError as error:
            await link.close()
            raise EngineLinkLostError(f"{path}: no greeting in {GREETING_TIMEOUT_S:.0f} s") from error
        except BaseException:
            await link.close()
            raise
        return link

    async def commit(
        self, puts: Iterable[StagedPut], removes: Iterable[ResourceKey], snapshot: str, *, start: bool
    ) -> control.Committed:
        """Stage and commit a change; returns when every worker serves it.

        Raises EngineLinkLostError, and EngineShortageError where all is served as before.
        """
        self._sequence += 1
        sequence = self._sequence
        answer: asyncio.Future[control.Committed] = asyncio.get_running_loop().create_future()
        self._waiting[sequence] = answer
        try:
            commit = control.Commit(sequence=sequence, snapshot=snapshot, start=start)
            await self._send(puts, removes, commit)
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                committed = await answer
        except TimeoutError as error:
            self._fail(f"commit {sequence} not answered in {COMMIT_TIMEOUT_S:.0f} s")
            raise EngineLinkLostError("commit not answered") from error
        finally:
            del self._waiting[sequence]
        if committed.shortage:
            raise EngineShortageError(committed.shortage)
        return committed

    async def drain(self, timeout_ms: int, *, leave: bool) -> None:
        """Ask the engine to stop accepting and finish what runs; with `leave` to exit after that."""
        await self._write(control.Frame(drain=control.Drain(timeout_ms=timeout_ms, exit=leave)))

    async def upgrade(self) -> None:
        """Ask the supervisor to replace the engine; its states tell what becomes of it."""
        await self._write(control.Frame(upgrade=control.Upgrade()))

    async def purge(self, target: str, tenant: str = "") -> int:
        """Forget kept answers (`PurgeCache`); returns how many. Raises EngineLinkLostError."""
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._purging.append(answer)
        await self._write(control.Frame(purge=control.PurgeCache(target=target, tenant=tenant)))
        return await answer

    async def close(self) -> None:
        """Close the connection; the engine goes on serving."""
        self._receiving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._receiving
        self._fail("closed")
        self._frames.close()

    async def _send(
        self, puts: Iterable[StagedPut], removes: Iterable[ResourceKey], commit: control.Commit
    ) -> None:
        """Stage and commit; a small change is one write, which wakes the other side once."""
        batch = bytearray()
        frame = control.Frame()
        for put in puts:
            # One frame for many resources: a new one for each takes three times as long as all else here.
            frame.put.resource.CopyFrom(put.resource)
            frame.put.descriptor = put.code is not None
            encoded = encode_frame(frame)
            if put.code is None:
                batch += encoded
            else:
                await self._flush(batch)
                await self._put_image(encoded, put.code, put.resource.name)
            if len(batch) >= BATCH_BYTES:
                await self._flush(batch)
                frame = control.Frame()  # What it held before stays in its memory.
        for kind, name in removes:
            remove = control.Remove(type=pb.ResourceType.ValueType(kind), name=name)
            batch += encode_frame(control.Frame(remove=remove))
        batch += encode_frame(control.Frame(commit=commit))
        await self._flush(batch)

    async def _flush(self, batch: bytearray) -> None:
        if batch:
            await self._write_bytes(bytes(batch))
            batch.clear()

    async def _put_image(self, encoded: bytes, code: bytes, name: str) -> None:
        descriptor = seal_code(code, name)
        try:
            await self._write_bytes(encoded, descriptor)
        finally:
            os.close(descriptor)

    async def _write(self, frame: control.Frame) -> None:
        await self._write_bytes(encode_frame(frame))

    async def _write_bytes(self, data: bytes, descriptor: int | None = None) -> None:
        try:
            await self._frames.write(data, () if descriptor is None else (descriptor,))
        except OSError as error:
            self._fail(f"write: {error.strerror}")
            raise EngineLinkLostError(f"write: {error.strerror}") from error

    async def _receive(self) -> None:
        decoder = FrameDecoder()
        try:
            while data := await self._frames.read():
                for frame in decoder.feed(data):
                    self._take(frame)
            self._fail("the supervisor closed the connection")
        except OSError as error:
            self._fail(f"read: {error.strerror}")
        except FrameError as error:
            self._fail(str(error))

    def _take(self, frame: control.Frame) -> None:
        kind = frame.WhichOneof("frame")
        if kind == "hello":
            self.hello = frame.hello
        elif kind == "retained":
            held = frame.retained.resources
            self.retained = {(int(resource.type), resource.name): resource.version for resource in held}
            if not self._greeted.done():
                self._greeted.set_result(None)
        elif kind == "metrics":
            descriptor = self._frames.take_descriptor()
            if descriptor is None:
                raise FrameError("metrics region came without its descriptor")
            self._on_counters(SharedCounters(frame.metrics, descriptor))
        elif kind == "state":
            self.state = frame.state
            self._on_state(frame.state)
        elif kind == "committed":
            answer = self._waiting.get(frame.committed.sequence)
            if answer is not None and not answer.done():
                answer.set_result(frame.committed)
        elif kind == "purged":
            if self._purging:
                purged = self._purging.popleft()
                if not purged.done():
                    purged.set_result(frame.purged.answers)
        else:
            raise FrameError(f"unexpected frame {kind}")

    def _fail(self, reason: str) -> None:
        """Mark the link lost and wake everyone who waits on it."""
        self.lost.set()
        answers: list[asyncio.Future[Any]] = [self._greeted, *self._waiting.values(), *self._purging]
        for waiting in answers:
            if not waiting.done():
                waiting.set_exception(EngineLinkLostError(reason))
                waiting.exception()
