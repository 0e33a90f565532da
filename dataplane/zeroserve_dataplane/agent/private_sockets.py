"""Unix sockets that only this user's processes may speak to.

In: a path. Out: a server whose socket has mode 0600 from its first moment, and whose connections come from
this process's user or root. Who calls: the admin socket, the token socket, and what takes the engine's logs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

READ_LIMIT_BYTES = 64 << 10
"""asyncio's own."""
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def start_private_server(path: Path, serve: Serve, *, limit: int = READ_LIMIT_BYTES) -> asyncio.Server:
    """Listen at a path, in place of what was there. Another user's connection is closed unheard."""

    async def serve_same_user(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not is_of_this_user(writer.get_extra_info("socket")):
            writer.close()
            return
        # Until Python 3.12 asyncio prints a cancelled connection with a traceback.
        with contextlib.suppress(asyncio.CancelledError):
            await serve(reader, writer)

    return await asyncio.start_unix_server(serve_same_user, sock=listen_privately(path), limit=limit)


def listen_privately(path: Path) -> socket.socket:
    """Listen at a path, in place of what was there, for who asks `is_of_this_user` itself. OSError."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen()
    return listener


def is_of_this_user(peer: socket.socket) -> bool:
    """Whether the process at the other end of a Unix socket is this process's user's, or root's."""
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    return user in {os.geteuid(), 0}
