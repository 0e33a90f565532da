"""A Unix stream socket that carries frames and descriptors, for asyncio.

asyncio's streams drop ancillary data, so this module waits for the plain socket itself.
Rule: whoever takes a descriptor out owns it; those never taken are closed with the socket.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Sequence
from pathlib import Path

READ_BYTES = 256 << 10
DESCRIPTORS_PER_READ_MAX = 16


class FrameSocket:
    """One connected socket; one task reads, many may write."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._descriptors: deque[int] = deque()
        self._writing = asyncio.Lock()

    @staticmethod
    async def connect(path: Path) -> FrameSocket:
        """Connect to a listening Unix socket. OSError when nobody listens there."""
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        client.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(client, os.fspath(path))
        except BaseException:
            client.close()
            raise
        return FrameSocket(client)

    async def read(self) -> bytes:
        """Return the next bytes, b"" at the end; descriptors that came along are queued."""
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(
                    self._socket, READ_BYTES, DESCRIPTORS_PER_READ_MAX, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                await self._ready(write=False)
                continue
            self._descriptors.extend(descriptors)
            return data

    def take_descriptor(self) -> int | None:
        """Return the oldest descriptor received and not taken yet; the caller closes it."""
        return self._descriptors.popleft() if self._descriptors else None

    async def write(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send all of `data`; the descriptors travel with its first byte and stay the caller's."""
        async with self._writing:
            sent = await self._send_first(data, descriptors) if descriptors else 0
            if sent < len(data):
                await asyncio.get_running_loop().sock_sendall(self._socket, memoryview(data)[sent:])

    async def _send_first(self, data: bytes, descriptors: Sequence[int]) -> int:
        while True:
            try:
                return socket.send_fds(self._socket, [data], list(descriptors))
            except BlockingIOError:
                await self._ready(write=True)

    async def _ready(self, *, write: bool) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        number = self._socket.fileno()
        add, remove = (
            (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
        )
        add(number, lambda: None if ready.done() else ready.set_result(None))
        try:
            await ready
        finally:
            remove(number)

    def close(self) -> None:
        """Close the socket and every descriptor that nobody took."""
        while self._descriptors:
            os.close(self._descriptors.popleft())
        self._socket.close()
