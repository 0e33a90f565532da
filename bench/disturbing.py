"""Clients that behave badly, for `soaking`: slow ones, readers that stall, resets, bytes that are no request.

Rule: what becomes of them does not count; that others do not notice them is what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Awaitable, Callable

from bench.answering import BODY_PREFIX
from bench.clients import CLOSED, Place

LINGER_NOT = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: close() sends RST."""
SLOW_STEPS = 20
SLOW_PAUSE_S = 0.5
STALL_S = 10.0
REST_S = 0.2

Behaviour = Callable[[Place], Awaitable[None]]


def _head(place: Place, path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {place.host}\r\nX-Filling: {'x' * 200}\r\n\r\n".encode()


async def send_slowly(place: Place) -> None:
    """A request head, some bytes at a time."""
    reader, writer = await place.open("http/1.1")
    head = _head(place, "/slow")
    step = len(head) // SLOW_STEPS + 1
    for at in range(0, len(head), step):
        writer.write(head[at : at + step])
        await writer.drain()
        await asyncio.sleep(SLOW_PAUSE_S)
    await reader.read(1024)
    writer.close()


async def read_slowly(place: Place) -> None:
    """A large answer of which little is read for a while."""
    reader, writer = await place.open("http/1.1")
    writer.write(_head(place, f"{BODY_PREFIX}slow"))
    await reader.read(1024)
    await asyncio.sleep(STALL_S)
    writer.close()


async def reset(place: Place) -> None:
    """A connection that is reset in the middle of a request or of its answer."""
    reader, writer = await place.open("http/1.1")
    head = _head(place, f"{BODY_PREFIX}reset")
    writer.write(head[: random.randrange(1, len(head) + 1)])
    await writer.drain()
    if random.random() < 0.5:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await reader.read(1024)
    plain = writer.get_extra_info("socket")
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    writer.transport.abort()


async def send_nonsense(place: Place) -> None:
    """Bytes that are no request."""
    reader, writer = await place.open("http/1.1")
    writer.write(random.randbytes(random.randrange(1, 2000)) + b"\r\n\r\n")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            await reader.read(1024)
    writer.close()


BEHAVIOURS: tuple[Behaviour, ...] = (send_slowly, read_slowly, reset, send_nonsense)


async def disturb(behave: Behaviour, place: Place, stop: asyncio.Event) -> None:
    """Behave so again and again."""
    while not stop.is_set():
        with contextlib.suppress(*CLOSED):
            await behave(place)
        await asyncio.sleep(REST_S)
