"""Serving in this process tree: what `zeroserve run` and `zeroserve dev` have in common.

In: something that loads a draft, now and after a change. Out: a served site until SIGINT or SIGTERM. Rule:
what served before goes on serving when a later load fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zeroserve_dataplane.agent.administering import AdminServer
from zeroserve_dataplane.agent.applying import Outcome
from zeroserve_dataplane.agent.commanding import AdminError
from zeroserve_dataplane.agent.embedding import EmbeddedNode, EngineStartError
from zeroserve_dataplane.jit.foreseeing import Foresight
from zeroserve_dataplane.settings import EmbeddedSettings
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.drafting import SnapshotDraft

from zeroserve_cli.admin_sockets import require_own_folder
from zeroserve_cli.main import EXIT_FAILED
from zeroserve_cli.reporting import print_diagnostics

POLL_S = 0.25
SETTLE_S = 0.05
"""Files that changed are read when they are as they were so long before: editors write in several steps."""
SETTLES_MAX = 20
"""A directory that never rests is read all the same."""
BIND_RETRIES = 6
BIND_RETRY_S = 0.5
"""A server that was killed a moment ago may hold its ports for so long in all."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """One reading of the configuration; no draft where it must not be served."""

    draft: SnapshotDraft | None
    diagnostics: tuple[Diagnostic, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    served: str = ""
    """What is served, for people."""
    limit_store: str = ""
    """Address of the store of shared rate limits, where the configuration names one."""
    shows_metrics: bool = False
    """A route answers this node's metrics."""

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(one.severity is Severity.ERROR for one in self.diagnostics)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the configuration comes from."""

    load: Callable[[Path | None], Loaded]
    """Reads everything; the path is what `reload` named, None for the one given at start."""
    fingerprint: Callable[[], object] | None = None
    """Changes when the files do; None is not watched."""


def serve(settings: EmbeddedSettings, source: Source, foresight: Foresight | None = None) -> int:
    """Serve until a signal; returns the exit code."""
    try:
        return asyncio.run(_Server(settings, source, foresight).run())
    except EngineStartError as error:
        print(f"zeroserve: {error}", file=sys.stderr)
        return EXIT_FAILED


class _Server:
    def __init__(self, settings: EmbeddedSettings, source: Source, foresight: Foresight | None) -> None:
        self.settings = settings
        self.source = source
        self.foresight = foresight
        self.stopping = asyncio.Event()
        self.applying = asyncio.Lock()
        self.asked = asyncio.Event()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        # From the first moment: one that comes while the server starts is answered when it serves.
        loop.add_signal_handler(signal.SIGUSR1, self.asked.set)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stopping.set)
        # As for Caddy: a terminal that goes away ends no server.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        async with contextlib.AsyncExitStack() as stack:
            seen = self.source.fingerprint() if self.source.fingerprint else None
            # Read while the engine and the compiler start.
            loading = asyncio.create_task(asyncio.to_thread(self.source.load, None))
            ahead = self.foresight.worker if self.foresight else None
            self.node = await stack.enter_async_context(EmbeddedNode(self.settings, ahead))
            loaded = await loading
            print_diagnostics(loaded.diagnostics, loaded.texts)
            if loaded.draft is None or not await self._begin(loaded):
                return EXIT_FAILED
            print(f"zeroserve: serving {loaded.served}", file=sys.stderr, flush=True)
            if self.foresight:
                self.foresight.note_served()
            await self._listen_for_commands(stack)
            answering = asyncio.create_task(self._reload_when_asked())
            stack.callback(answering.cancel)
            if self.source.fingerprint is not None:
                watching = asyncio.create_task(self._watch(self.source.fingerprint, seen))
                stack.callback(watching.cancel)
            await self.stopping.wait()
            print("zeroserve: draining", file=sys.stderr, flush=True)
        return 0

    async def _listen_for_commands(self, stack: contextlib.AsyncExitStack) -> None:
        if self.settings.admin_socket is None:
            return
        handlers = {
            "reload": self._reload,
            "status": self._describe,
            "stop": self._stop,
            "upgrade": self._upgrade,
            "purge": self._purge,
        }
        try:
            require_own_folder(self.settings.admin_socket)
            await stack.enter_async_context(AdminServer(self.settings.admin_socket, handlers))
        except (AdminError, OSError) as error:
            print(f"zeroserve: no admin socket: {error}; `--admin` names another", file=sys.stderr)

    async def _begin(self, loaded: Loaded) -> bool:
        """Serve the first draft; False when the node refused all of it or, as for Caddy, any address."""
        assert loaded.draft is not None
        outcome = await self._apply(loaded)
        for _ in range(BIND_RETRIES):
            if not _misses_listener(outcome) or self.stopping.is_set():
                break
            await asyncio.sleep(BIND_RETRY_S)
            await self.node.node.retry_refused()
            outcome = await self.node.apply(loaded.draft)
        print_diagnostics(outcome.diagnostics)
        return not _misses_listener(outcome) and bool(outcome.served.resources or not loaded.draft.resources)

    async def _apply(self, loaded: Loaded) -> Outcome:
        """Give a draft to the node."""
        assert loaded.draft is not None
        await self.node.set_limit_store(loaded.limit_store)
        if loaded.shows_metrics:
            await self.node.show_metrics()
        return await self.node.apply(loaded.draft)

    async def _load_and_apply(self, path: Path | None) -> tuple[Loaded, tuple[Diagnostic, ...]]:
        """Serve what is there now; also returns what the node refused of it."""
        async with self.applying:
            loaded = await asyncio.to_thread(self.source.load, path)
            print_diagnostics(loaded.diagnostics, loaded.texts)
            if loaded.draft is None:
                print("zeroserve: serving what was served before", file=sys.stderr, flush=True)
                return loaded, ()
            refused = (await self._apply(loaded)).diagnostics
            print_diagnostics(refused)
            kept = ", but for what was refused" if refused else ""
            print(f"zeroserve: serving {loaded.served}{kept}", file=sys.stderr, flush=True)
            return loaded, refused

    async def _watch(self, fingerprint: Callable[[], object], seen: object) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            found = await asyncio.to_thread(fingerprint)
            if found != seen:
                seen = await _settle(fingerprint, found)
                await self._load_and_apply(None)

    async def _reload_when_asked(self) -> None:
        """SIGUSR1, as for Caddy; those that come while files are read are one more reading."""
        while True:
            await self.asked.wait()
            self.asked.clear()
            await self._load_and_apply(None)

    async def _reload(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        path = Path(command["config"]) if command.get("config") else None
        loaded, refused = await self._load_and_apply(path)
        if loaded.draft is None or refused:
            findings = refused if loaded.draft is not None else loaded.diagnostics
            raise AdminError("\n".join(one.render(loaded.texts) for one in findings))
        return {"served": loaded.served, "findings": [one.render_short() for one in loaded.diagnostics]}

    async def _describe(self, _command: Mapping[str, Any]) -> Mapping[str, Any]:
        return self.node.describe()

    async def _upgrade(self, _command: Mapping[str, Any]) -> Mapping[str, Any]:
        await self.node.upgrade()
        engine = self.node.node.state.engine
        return {"pid": engine.pid, "version": engine.hello.version}

    async def _purge(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"answers": await self.node.node.purge(str(command.get("target", "")))}

    async def _stop(self, _command: Mapping[str, Any]) -> Mapping[str, Any]:
        self.stopping.set()
        return {}


async def _settle(fingerprint: Callable[[], object], found: object) -> object:
    """Wait until files rest; returns their last fingerprint."""
    for _ in range(SETTLES_MAX):
        await asyncio.sleep(SETTLE_S)
        before, found = found, await asyncio.to_thread(fingerprint)
        if found == before:
            break
    return found


def _misses_listener(outcome: Outcome) -> bool:
    return any(refusal.key[0] == pb.LISTENER for refusal in outcome.refusals)
