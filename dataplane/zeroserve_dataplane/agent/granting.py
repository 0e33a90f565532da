"""The token socket: engines ask for tokens of shared rate limits, and hear whether there is a store.

In: `TokenRequest` frames of engines of this node. Out: `TokenGrant`, and `TokenStore` at first and at
changes. Who calls: the agent and the embedded node. Rules: every request is answered, with `unavailable`
where no tokens can be had; only processes of the same user are heard; the store's address, a secret, never
reaches an engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from zeroserve_ir._pb import control_pb2 as control

from zeroserve_dataplane.agent.ending import end_tasks
from zeroserve_dataplane.agent.private_sockets import start_private_server
from zeroserve_dataplane.enginelink.frames import FrameDecoder, FrameError, encode_frame

if TYPE_CHECKING:
    from zeroserve_dataplane.agent.leasing import LeaseCounts, Store

logger = logging.getLogger(__name__)

READ_BYTES = 256 << 10
NEEDS_MAX = 1024
"""An engine sends 256 at most."""
PENDING_MAX = 16
"""Requests of one engine that wait for the store; an engine has two, and what it gives back."""


class TokenServer:
    """Listens while entered; `set_store` says where tokens come from."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._address = ""
        self._store: Store | None = None
        self._running: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self.counts: LeaseCounts | None = None
        """None until there was a store."""

    @property
    def up(self) -> bool:
        """Whether tokens can be had."""
        return self._store is not None and self._store.up

    async def __aenter__(self) -> TokenServer:
        self._server = await start_private_server(self.path, self._accept)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        await end_tasks(self._connections)
        await self._drop_store()
        self.path.unlink(missing_ok=True)

    async def set_store(self, address: str) -> None:
        """Lease from this store, "" from none. ValueError where the address is none."""
        if address == self._address:
            return
        await self._drop_store()
        self._address = address
        if address:
            # Loaded for those who have a store.
            from zeroserve_dataplane.agent.leasing import LeaseCounts, Store  # noqa: PLC0415

            self.counts = self.counts or LeaseCounts()
            self._store = Store(address, self._tell_all, self.counts)
            self._running = asyncio.create_task(self._store.run(), name="token store")
        self._tell_all()

    async def _drop_store(self) -> None:
        running, self._running, self._store, self._address = self._running, None, None, ""
        if running is not None:
            await end_tasks([running])

    def _state(self) -> bytes:
        store = self._store
        state = control.TokenStore(up=store.up, nodes=store.nodes) if store else control.TokenStore()
        return encode_frame(control.Frame(store=state))

    def _tell_all(self) -> None:
        for writer in self._writers:
            writer.write(self._state())

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            writer.write(self._state())
            self._writers.add(writer)
            await self._serve(reader, writer)
        except (ConnectionError, FrameError) as error:
            logger.debug("token socket: %s", error)
        finally:
            self._connections.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        decoder, room = FrameDecoder(), asyncio.Semaphore(PENDING_MAX)
        answering: set[asyncio.Task[None]] = set()
        try:
            while data := await reader.read(READ_BYTES):
                for frame in decoder.feed(data):
                    if frame.WhichOneof("frame") != "request" or len(frame.request.needs) > NEEDS_MAX:
                        raise FrameError("no request for tokens")
                    await room.acquire()
                    task = asyncio.create_task(self._answer(frame.request, writer, room))
                    answering.add(task)
                    task.add_done_callback(answering.discard)
        finally:
            for task in answering:
                task.cancel()

    async def _answer(
        self, request: control.TokenRequest, writer: asyncio.StreamWriter, room: asyncio.Semaphore
    ) -> None:
        try:
            grant = await self._lease(request)
            grant.sequence = request.sequence
            with contextlib.suppress(ConnectionError):
                writer.write(encode_frame(control.Frame(grant=grant)))
                await writer.drain()
        finally:
            room.release()

    async def _lease(self, request: control.TokenRequest) -> control.TokenGrant:
        if self._store is None:
            return control.TokenGrant(unavailable=True)
        from zeroserve_dataplane.agent.leasing import StoreAwayError  # noqa: PLC0415  # there is a store

        try:
            leases = await self._store.lease(request.needs)
        except StoreAwayError:
            return control.TokenGrant(unavailable=True)
        return control.TokenGrant(
            granted=[lease.granted for lease in leases], wait_us=[lease.wait_us for lease in leases]
        )
