"""A node in one process: the agent's core with the engine's supervisor as its child.

In: drafts from `zeroserve run` and `zeroserve dev`. Out: what is served, or the reasons why not. Rules: no
operator, no network between the parts, no snapshot on any disk; the child ends when this process ends,
however that happens (`--exit-with-parent`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import SETTINGS_NAME, SnapshotDraft

from zeroserve_dataplane.agent.applying import Node, Outcome
from zeroserve_dataplane.agent.ending import end_tasks
from zeroserve_dataplane.agent.granting import TokenServer
from zeroserve_dataplane.agent.images import ImageStore
from zeroserve_dataplane.agent.receiving_logs import LogReceiver
from zeroserve_dataplane.agent.resolving import Resolver
from zeroserve_dataplane.agent.upkeep import keep_up
from zeroserve_dataplane.jit.compiling import Compiler
from zeroserve_dataplane.jit.starting import WorkerProcess
from zeroserve_dataplane.jit.targets import find_host_target
from zeroserve_dataplane.settings import EmbeddedSettings, find_cache_directory, find_version

if TYPE_CHECKING:
    from zeroserve_dataplane.metrics import MetricsServer

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 15.0
"""A supervisor that does not greet by then will not; warm starts take a fraction of a second."""
RESTART_DELAY_S = 0.2


class EngineStartError(Exception):
    """The engine's binary is missing or ends at once; says which."""


def find_engine() -> Path:
    """Return the engine's binary. EngineStartError where there is none."""
    try:
        from zeroserve_engine import find_binary  # noqa: PLC0415  # its wheel is absent where only an operator runs

        return Path(find_binary())
    except (ImportError, FileNotFoundError) as error:
        if chosen := os.environ.get("ZEROSERVE_ENGINE"):
            return Path(chosen)
        raise EngineStartError(f"no engine: {error}") from error


def choose_cache(own: Path) -> Path:
    """Return the user's cache, or a folder of this run where that cannot be written."""
    wanted = find_cache_directory()
    try:
        wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
    else:
        if os.access(wanted, os.W_OK | os.X_OK):
            return wanted
        reason = "it may not be written"
    cure = "set XDG_CACHE_HOME for faster starts"
    logger.warning("compiled programs are kept for this run only: %s: %s; %s", wanted, reason, cure)
    return own / "cache"


class EmbeddedNode:
    """`async with EmbeddedNode(settings) as node: await node.apply(draft)`."""

    def __init__(self, settings: EmbeddedSettings, ahead: WorkerProcess | None = None) -> None:
        """`ahead` is a compile worker that was started before all this was loaded."""
        self._settings = settings
        self._directory = Path(tempfile.mkdtemp(prefix="zeroserve-"))
        cache = settings.cache_directory or choose_cache(self._directory)
        self._compiler = Compiler(cache, settings.compile_workers, ahead=ahead)
        images = ImageStore(self._compiler, find_host_target())
        self.node = Node(self._directory / "engine.sock", find_version(), images, Resolver())
        self.metrics: MetricsServer | None = None
        self._shown_metrics: MetricsServer | None = None
        self._logs = LogReceiver(self._directory / "log.sock")
        self.tokens = TokenServer(self._directory / "token.sock")
        self._child: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._failed: asyncio.Future[None] | None = None
        self._stopping = False

    async def __aenter__(self) -> EmbeddedNode:
        try:
            self._failed = asyncio.get_running_loop().create_future()
            self._compiler.warm()
            await self.tokens.__aenter__()
            await self.set_limit_store("")
            self._child = await self._spawn()
            self._start(self._supervise(), "supervising")
            self._start(self.node.run(), "engine link")
            self._start(keep_up(self.node), "upkeep")
            if self._settings.metrics_port >= 0:
                self.metrics = self._open_metrics(self._settings.metrics_address, self._settings.metrics_port)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        for server in (self.metrics, self._shown_metrics):
            if server is not None:
                server.close()
        await end_tasks(self._tasks)
        await self._end_child()
        await self.tokens.__aexit__()
        await asyncio.to_thread(self._logs.close)
        await self._compiler.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    async def show_metrics(self) -> None:
        """Serve metrics at the settings' socket too, where routes find them."""
        path = self._settings.metrics_socket
        if path is not None and self._shown_metrics is None:
            self._shown_metrics = await asyncio.to_thread(self._open_metrics, path, 0)

    def _open_metrics(self, address: str | Path, port: int) -> MetricsServer:
        # Loaded for those who need it: Prometheus' client takes long.
        from zeroserve_dataplane.metrics import MetricsServer, NodeCollector  # noqa: PLC0415

        return MetricsServer(
            address, port, NodeCollector(self.node, tokens=self.tokens, spans=self._logs.spans)
        )

    async def apply(self, draft: SnapshotDraft) -> Outcome:
        """Serve a draft; returns once it is served. EngineStartError when the engine does not start."""
        assert self._failed is not None
        self._logs.set_loggers(_find_loggers(draft))
        applying = asyncio.ensure_future(self.node.apply(draft))
        starting = not self.node.state.served_version
        try:
            timeout = START_TIMEOUT_S if starting else None
            waited: set[asyncio.Future[Any]] = {applying, self._failed}
            await asyncio.wait(waited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
            if not applying.done():
                raise EngineStartError(f"the engine does not answer in {START_TIMEOUT_S:.0f} s")
            return applying.result()
        finally:
            applying.cancel()

    async def set_limit_store(self, address: str) -> None:
        """Lease tokens of shared rate limits from this store, "" from the settings'. ValueError."""
        await self.tokens.set_store(address or self._settings.limit_store)

    async def upgrade(self) -> None:
        """Replace the engine by the binary installed now, without a lost request. UpgradeError if not."""
        await self.node.upgrade()

    def describe(self) -> dict[str, Any]:
        """Return the state for `zeroserve status`, as JSON values."""
        state = self.node.state
        return {
            "ready": state.ready,
            "snapshot": state.served_version,
            "resources": len(self.node.good.resources),
            "engine": {
                "pid": state.engine.pid,
                "restarts": state.engine.restarts,
                "upgrades": state.engine.upgrades,
                "leaving": state.engine.leaving,
                "io": state.engine.hello.io,
            },
            "images": dict(self.node.images.tiers),
            "spans": {"exported": self._logs.spans.exported, "dropped": self._logs.spans.dropped},
        }

    def _start(self, work: Any, name: str) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._note_end)
        self._tasks.append(task)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        """A task that fails is everybody's failure: whoever applies next hears of it."""
        if task.cancelled() or self._failed is None or self._failed.done():
            return
        error = task.exception()
        if error is not None:
            self._failed.set_exception(error)
            self._failed.exception()

    async def _spawn(self) -> asyncio.subprocess.Process:
        settings = self._settings
        arguments = ["supervise", f"--socket={self.node.socket}", "--exit-with-parent", "--files"]
        arguments += [f"--log-socket={self._logs.path}", f"--token-socket={self.tokens.path}"]
        arguments.append(f"--io={settings.io}")
        if settings.workers:
            arguments.append(f"--workers={settings.workers}")
        binary = find_engine()
        try:
            # A group of its own: Ctrl-C is ours to pass on, after draining.
            return await asyncio.create_subprocess_exec(
                binary, *arguments, stdin=asyncio.subprocess.DEVNULL, process_group=0
            )
        except OSError as error:
            raise EngineStartError(f"{binary}: {error.strerror}") from error

    async def _supervise(self) -> None:
        """Replace a supervisor that ended; one that never linked is a failure."""
        while True:
            assert self._child is not None
            status = await self._child.wait()
            if not self.node.state.commits:
                raise EngineStartError(f"the engine ended with status {status}")
            logger.error("the engine's supervisor ended with status %d and is started again", status)
            await asyncio.sleep(RESTART_DELAY_S)
            self._child = await self._spawn()

    async def _end_child(self) -> None:
        child = self._child
        if child is None or child.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._settings.drain_timeout_ms / 1000 + 1):
                await child.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()


def _find_loggers(draft: SnapshotDraft) -> list[pb.Logger]:
    settings = draft.resources.get((int(pb.SETTINGS), SETTINGS_NAME))
    return [] if settings is None else list(pb.Settings.FromString(settings.payload).loggers)
