"""The admin socket: `reload`, `status` and `stop` from the command line, as JSON lines.

In: `{"command": "reload", …}` and a newline, from a process of the same user. Out: one JSON line for each,
`{"ok": true, …}` or `{"ok": false, "error": …}`. Rule: a Unix socket of mode 0600 and the peer's uid decide
who may speak; nothing here is reachable by network.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from zeroserve_dataplane.agent.commanding import AdminError
from zeroserve_dataplane.agent.private_sockets import start_private_server

logger = logging.getLogger(__name__)

LINE_BYTES_MAX = 1 << 20
"""A command names a file; a reply may list all diagnostics."""
Handler = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class AdminServer:
    """Listens while entered."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        """A handler gets the whole command; what it raises becomes `error`."""
        self._path = path
        self._handlers = handlers
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> AdminServer:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if await _is_answered(self._path):
            raise AdminError(f"{self._path}: another zeroserve runs there")
        self._server = await start_private_server(self._path, self._serve, limit=LINE_BYTES_MAX)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError, asyncio.LimitOverrunError) as error:
            logger.debug("admin connection: %s", error)
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> Mapping[str, Any]:
        try:
            command = json.loads(line)
            handler = self._handlers[command["command"]]
        except (ValueError, TypeError, KeyError):
            return {"ok": False, "error": f"commands are {', '.join(sorted(self._handlers))}"}
        try:
            return {"ok": True, **await handler(command)}
        except AdminError as error:
            return {"ok": False, "error": str(error)}
        except Exception as error:
            logger.exception("admin command failed")
            return {"ok": False, "error": str(error) or type(error).__name__}


async def _is_answered(path: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.close()
    return True
