"""Compile workers: processes that are warm before they are needed and are replaced before they grow old.

In: jobs, from `compiling`. Out: replies, or WorkerError where the process died, hung or spoke nonsense. The
rule: whatever happens to a worker harms the one job that it had.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from zeroserve_dataplane.jit.messages import (
    LENGTH,
    Failed,
    Job,
    Made,
    ProtocolError,
    Ready,
    Reply,
    decode_length,
    decode_reply,
    encode_job,
)
from zeroserve_dataplane.jit.starting import WorkerProcess, start_process
from zeroserve_dataplane.jit.targets import Tier
from zeroserve_dataplane.verifier import Refused

JOBS_MAX: Final = 500
"""Jobs before a worker is replaced: LLVM keeps about 85 KB of each, so 40 MB at most."""
JOB_TIMEOUT_S: Final = 30.0
"""3,400 slots took 2.6 s on a busy machine of two cores; about ten times that."""
START_TIMEOUT_S: Final = 60.0
PATIENCE_S: Final = 1.0
"""A FAST job waits so long for workers that optimise; then it has one beside them. A program of a thousand
slots may keep LLVM busy for minutes, and nobody's change waits for that."""
IDLE_S: Final = 600.0
"""A worker without a job for so long ends: it holds some 40 MiB, the next takes half a second to start."""

_log = logging.getLogger(__name__)


class WorkerError(Exception):
    """The worker that had the job is gone; the job may be tried again."""


@dataclass(slots=True, eq=False)
class _Worker:
    started: WorkerProcess
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    jobs: int = 0
    is_replaced: bool = False
    """A successor is warm: this one ends after the job that it has."""
    ending: asyncio.TimerHandle | None = None

    async def receive(self, timeout_s: float) -> Reply:
        """Read one frame; raises WorkerError."""
        try:
            async with asyncio.timeout(timeout_s):
                length = decode_length(await self.reader.readexactly(LENGTH.size))
                return decode_reply(await self.reader.readexactly(length))
        except TimeoutError as error:
            raise WorkerError(f"no answer within {timeout_s:g} s") from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise WorkerError("worker died") from error
        except ProtocolError as error:
            raise WorkerError(str(error)) from error

    async def work(self, job: Job, timeout_s: float) -> Made | Refused | Failed:
        """Have one job done; raises WorkerError."""
        self.jobs += 1
        try:
            self.writer.write(encode_job(job))
            await self.writer.drain()
        except ConnectionError as error:
            raise WorkerError("worker died") from error
        reply = await self.receive(timeout_s)
        if isinstance(reply, Ready):
            raise WorkerError("worker started anew")
        return reply

    async def stop(self) -> None:
        """End the process and wait for it."""
        self.writer.close()
        self.started.process.kill()
        await asyncio.to_thread(self.started.process.wait)


@dataclass(slots=True)
class Workers:
    """A pool of `size` workers, and as many beside those that optimise; jobs of the FAST tier go first."""

    size: int
    job_timeout_s: float = JOB_TIMEOUT_S
    jobs_max: int = JOBS_MAX
    idle_s: float = IDLE_S
    ahead: WorkerProcess | None = None
    """One that somebody started already: the first."""
    _idle: list[_Worker] = field(default_factory=list)
    _busy: int = 0
    _optimising: int = 0
    """Of the busy ones, those with a job of the OPTIMISED tier."""
    _waiting: list[tuple[int, int, asyncio.Future[None]]] = field(default_factory=list)
    _turns: itertools.count[int] = field(default_factory=itertools.count)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Start the workers ahead of the first job; raises WorkerError."""
        missing = range(self.size - len(self._idle))
        for worker in await asyncio.gather(*(self._start_worker() for _ in missing)):
            self._rest(worker)

    async def run(self, job: Job) -> Made | Refused | Failed:
        """Have a job done; raises WorkerError when its worker fails."""
        async with self._take(job.tier) as worker:
            return await worker.work(job, self.job_timeout_s)

    async def stop(self) -> None:
        """End all workers."""
        await asyncio.gather(*self._tasks)
        while worker := self._wake():
            await worker.stop()

    @property
    def process_ids(self) -> tuple[int, ...]:
        """Process ids of the workers that wait for a job."""
        return tuple(worker.started.process.pid for worker in self._idle)

    @contextlib.asynccontextmanager
    async def _take(self, tier: Tier) -> AsyncIterator[_Worker]:
        await self._wait_for_turn(tier)
        optimises = tier is not Tier.FAST
        self._optimising += optimises
        worker: _Worker | None = None
        try:
            worker = self._wake() or await self._start_worker()
            yield worker
        except BaseException:
            # Dead, hung, or cancelled in the middle of a job: its next frame would be another job's.
            if worker is not None:
                self._retire(worker)
            raise
        else:
            if worker.is_replaced:
                self._retire(worker)
            else:
                self._rest(worker)
                if worker.jobs == self.jobs_max:
                    self._keep(asyncio.create_task(self._replace(worker)))
        finally:
            self._optimising -= optimises
            self._end_turn()

    async def _wait_for_turn(self, tier: Tier) -> None:
        if self._busy < self.size:
            self._busy += 1
            return
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (int(tier is not Tier.FAST), next(self._turns), turn))
        try:
            while not turn.done():
                await asyncio.wait([turn], timeout=PATIENCE_S if tier is Tier.FAST else None)
                if not turn.done() and self._busy - self._optimising < self.size:
                    self._busy += 1
                    turn.set_result(None)
        except asyncio.CancelledError:
            if not turn.cancel():
                self._end_turn()
            raise

    def _end_turn(self) -> None:
        while self._waiting:
            background, _, turn = self._waiting[0]
            if background and self._busy > self.size and not turn.done():
                break
            heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._busy -= 1

    async def _replace(self, old: _Worker) -> None:
        """Start a successor; the old worker goes on until that is warm."""
        try:
            new = await self._start_worker()
        except (WorkerError, OSError) as error:
            _log.warning("compile worker has no successor: %s", error)
            old.jobs = 0
            return
        self._rest(new)
        old.is_replaced = True
        if old in self._idle:
            self._idle.remove(old)
            await old.stop()

    async def _start_worker(self) -> _Worker:
        """Start a process and wait until it is warm; raises WorkerError, OSError."""
        started, self.ahead = self.ahead or start_process(), None
        reader, writer = await asyncio.open_unix_connection(sock=started.socket)
        worker = _Worker(started, reader, writer)
        try:
            ready = await worker.receive(START_TIMEOUT_S)
            if not isinstance(ready, Ready):
                raise WorkerError("worker did not begin with ready")
            if not ready.confined:
                _log.warning("compile worker %d runs without a system call filter", started.process.pid)
        except BaseException:
            await worker.stop()
            raise
        return worker

    def _rest(self, worker: _Worker) -> None:
        """Have a worker wait for a job, for a while."""
        self._idle.append(worker)
        worker.ending = asyncio.get_running_loop().call_later(self.idle_s, self._end_idle, worker)

    def _wake(self) -> _Worker | None:
        """The worker that rested last; None where none does."""
        if not self._idle:
            return None
        worker = self._idle.pop()
        if worker.ending:
            worker.ending.cancel()
        return worker

    def _end_idle(self, worker: _Worker) -> None:
        if worker in self._idle:
            self._idle.remove(worker)
            self._retire(worker)

    def _retire(self, worker: _Worker) -> None:
        self._keep(asyncio.create_task(worker.stop()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
