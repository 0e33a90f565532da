"""`zeroserve run` for long measurements: started, told, killed, upgraded. Used by `hitless` and `soaking`.

Rule: no core is claimed and no priority raised; these measurements count, they do not time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.installing import REPOSITORY
from bench.running import StartError
from bench.scenes import LOOPBACK

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
CHANGE_TIMEOUT_S = 180.0
POLL_S = 0.01


class NodeError(Exception):
    """The node did not do what it was told."""


@dataclass(frozen=True, slots=True)
class EnginePlace:
    """The engine that serves, as the node tells it."""

    ready: bool
    pid: int
    restarts: int
    upgrades: int
    leaving: int


@dataclass(slots=True)
class Node:
    """A running `zeroserve run`; `caddyfile` is what it watches nothing of and is given by `reload`."""

    process: asyncio.subprocess.Process
    directory: Path

    async def call(self, command: str, **arguments: str) -> Mapping[str, Any]:
        """One command on the admin socket. NodeError when it is refused."""
        async with asyncio.timeout(CHANGE_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(self.directory / "admin.sock", limit=1 << 20)
            try:
                writer.write(json.dumps({"command": command, **arguments}).encode() + b"\n")
                answer = json.loads(await reader.readline())
            finally:
                writer.close()
        if not isinstance(answer, dict) or not answer.get("ok"):
            raise NodeError(f"{command}: {answer}")
        return answer

    async def engine(self) -> EnginePlace:
        """The engine now."""
        status = await self.call("status")
        found = status["engine"]
        ready = bool(status["ready"]) and found["pid"] > 0
        return EnginePlace(ready, found["pid"], found["restarts"], found["upgrades"], found["leaving"])

    async def upgrade(self) -> None:
        """Replace the engine and wait until the next one serves."""
        await self.call("upgrade")

    async def reload(self, caddyfile: str) -> None:
        """Serve another Caddyfile."""
        path = self.directory / "Caddyfile"
        path.write_text(caddyfile)
        await self.call("reload", config=str(path))

    async def kill(self) -> tuple[float, float]:
        """SIGKILL the engine; from when until when it died (monotonic seconds), once another one serves."""
        before = await self.engine()
        if not before.ready:
            raise NodeError("no engine runs")
        begun_s = time.monotonic()
        os.kill(before.pid, signal.SIGKILL)
        while Path(f"/proc/{before.pid}").exists():
            await asyncio.sleep(POLL_S / 10)
        ended_s = time.monotonic()
        async with asyncio.timeout(CHANGE_TIMEOUT_S):
            while True:
                now = await self.engine()
                if now.ready and now.restarts > before.restarts:
                    break
                await asyncio.sleep(POLL_S)
        return begun_s, ended_s


@contextlib.asynccontextmanager
async def running(directory: Path, caddyfile: str, port: int, workers: int) -> AsyncIterator[Node]:
    """Start a node and wait until its port is open; SIGTERM when left."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "Caddyfile").write_text(caddyfile)
    command = [str(REPOSITORY / ".venv/bin/zeroserve"), "run", "--config", str(directory / "Caddyfile")]
    command += ["--admin", str(directory / "admin.sock"), "--workers", str(workers)]
    with (directory / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    try:
        await _wait_for(process, port, directory / "log")
        yield Node(process, directory)
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _wait_for(process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        if process.returncode is not None or time.monotonic() > deadline_s:
            raise StartError(f"zeroserve does not serve: {log.read_text(errors='replace')[-800:]}")
        with contextlib.suppress(OSError):
            # The admin socket comes last.
            await asyncio.open_unix_connection(log.parent / "admin.sock")
            await asyncio.open_connection(LOOPBACK, port)
            return
        await asyncio.sleep(POLL_S)
