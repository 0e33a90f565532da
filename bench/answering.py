"""The backend of `hitless` and `soaking`: answers with what it was asked, and echoes WebSockets.

Rule: an answer bears the request's path and the digest of its body, so that a wrong one is known.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from bench.scenes import LOOPBACK

FILLING = b"0123456789abcdef" * 64
BODY_PREFIX = "/large/"
"""Paths whose answers have `FILLING` many times behind them."""
LARGE_TIMES = 256


def expect(path: str, body: bytes) -> bytes:
    """What the answer's body is."""
    answer = f"{path} {hashlib.sha256(body).hexdigest()}\n".encode()
    return answer + FILLING * LARGE_TIMES if path.startswith(BODY_PREFIX) else answer


@contextlib.asynccontextmanager
async def answering(ports: tuple[int, ...], echo_port: int) -> AsyncIterator[None]:
    """Listen on all ports while entered."""
    async with contextlib.AsyncExitStack() as stack:
        for port in ports:
            server = await asyncio.start_server(_serve, LOOPBACK, port, backlog=1024)
            stack.callback(server.close)
        await stack.enter_async_context(serve(_echo, LOOPBACK, echo_port))
        yield


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError):
        while True:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
            }
            body = await reader.readexactly(int(fields.get("content-length", 0)))
            answer = expect(lines[0].split(" ")[1], body)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
            await writer.drain()
    writer.close()


async def _echo(channel: ServerConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for message in channel:
            await channel.send(message)
