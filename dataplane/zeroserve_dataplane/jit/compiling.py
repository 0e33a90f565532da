"""The compiler as the agent calls it: programs in, native code out, from the cache or from a worker.

The rule: no program makes this raise. One that the verifier refuses is Refused (the publisher's fault: NACK);
one that cannot be compiled is Defective (ours: interpret it, count it, never NACK). What was not verified is
never said to be fit for the interpreter, even where the worker died before it could judge.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from zeroserve_dataplane.jit.caching import CACHE_BYTES_MAX, Cache
from zeroserve_dataplane.jit.messages import Failed, Job, Made
from zeroserve_dataplane.jit.starting import WorkerProcess
from zeroserve_dataplane.jit.targets import Target, Tier
from zeroserve_dataplane.jit.workers import JOB_TIMEOUT_S, JOBS_MAX, WorkerError, Workers
from zeroserve_dataplane.verifier import Exposure, Refused, verify

ATTEMPTS: Final = 2
"""A FAST job whose worker dies is tried once more: the worker may have been killed for reasons of its own."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Compiled:
    """An image: what the memfd holds and where `run` starts in it, as Image of resources.proto has it.

    One text may come to hold many programs, each with its entry; nothing here assumes that entry is 0.
    """

    target: Target
    tier: Tier
    text: bytes
    entry: int
    exposure: Exposure
    from_cache: bool

    @property
    def digest(self) -> bytes:
        """SHA-256 of the text."""
        return hashlib.sha256(self.text).digest()


@dataclass(frozen=True, slots=True)
class Defective:
    """A program that has no native code by our fault: to be counted and, where verified, interpreted."""

    reason: str
    verified: bool
    """False where the verifier itself failed: then the program must not run at all."""


Outcome = Compiled | Refused | Defective


@dataclass(slots=True)
class Compiler:
    """Compiles programs in worker processes; equal jobs at one time are one job."""

    cache_dir: Path | None
    workers: int = 1
    job_timeout_s: float = JOB_TIMEOUT_S
    jobs_max: int = JOBS_MAX
    cache_bytes_max: int = CACHE_BYTES_MAX
    ahead: WorkerProcess | None = None
    """A worker that was started before this was made."""
    native_compilations: int = 0
    """Jobs that reached a worker and gave code."""
    _cache: Cache | None = None
    _pool: Workers = field(init=False)
    _running: dict[Job, asyncio.Task[Outcome]] = field(default_factory=dict)
    _warming: asyncio.Task[None] | None = None
    _storing: dict[Job, asyncio.Task[None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._pool = Workers(self.workers, self.job_timeout_s, self.jobs_max, ahead=self.ahead)
        if self.cache_dir is not None:
            self._cache = Cache(self.cache_dir, self.cache_bytes_max)

    async def start(self) -> None:
        """Warm the workers; without it the first jobs do."""
        try:
            await self._pool.start()
        except (WorkerError, OSError) as error:
            _log.error("compile workers do not start: %s", error)

    def warm(self) -> None:
        """Warm the workers beside whatever else begins, where they will be needed; jobs wait for that."""
        if self.ahead is not None or self._cache is None or self._cache.is_empty():
            self._warming = asyncio.create_task(self.start())

    async def close(self) -> None:
        """End the workers; jobs that run are cancelled, images that were made are kept."""
        ending = [*self._running.values(), *filter(None, [self._warming])]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await asyncio.gather(*self._storing.values())
        await self._pool.stop()

    async def compile(
        self, code: bytes, constants_bytes: int, target: Target, tier: Tier = Tier.FAST
    ) -> Outcome:
        """Verify and compile a program that may read `constants_bytes` of constants."""
        job = Job(code, constants_bytes, target, tier)
        task = self._running.get(job)
        if task is None:
            task = asyncio.create_task(self._compile(job))
            self._running[job] = task
            task.add_done_callback(lambda _: self._running.pop(job, None))
        # One caller that gives up must not take the job from the others.
        return await asyncio.shield(task)

    async def _compile(self, job: Job) -> Outcome:
        if storing := self._storing.get(job):
            await asyncio.shield(storing)
        cached = self._cache.load(job) if self._cache else None
        if cached is not None:
            return _compiled(job, cached, from_cache=True)
        if self._warming is not None:
            await asyncio.shield(self._warming)
        reply = await self._try(job)
        match reply:
            case Made():
                self.native_compilations += 1
                if self._cache:
                    self._keep(self._cache, job, reply)
                return _compiled(job, reply, from_cache=False)
            case Failed(reason):
                return await asyncio.to_thread(_judge_defect, job, reason)
            case Refused():
                return reply

    def _keep(self, cache: Cache, job: Job, made: Made) -> None:
        """Store an image while who waited for it goes on: disks take their time."""
        storing = asyncio.create_task(asyncio.to_thread(cache.store, job, made))
        self._storing[job] = storing
        storing.add_done_callback(lambda _: self._storing.pop(job, None))

    async def _try(self, job: Job) -> Made | Refused | Failed:
        reason = ""
        attempts = ATTEMPTS if job.tier is Tier.FAST else 1
        for _ in range(attempts):
            try:
                return await self._pool.run(job)
            except (WorkerError, OSError) as error:
                reason = f"{error} ({attempts} attempts)"
                _log.warning("compile worker failed: %s", error)
        return Failed(reason)

    @property
    def worker_process_ids(self) -> tuple[int, ...]:
        """Process ids of the workers that wait for a job."""
        return self._pool.process_ids


def _compiled(job: Job, made: Made, *, from_cache: bool) -> Compiled:
    return Compiled(job.target, job.tier, made.text, made.entry, made.exposure, from_cache)


def _judge_defect(job: Job, reason: str) -> Outcome:
    """Verify here what a worker could not compile, since nobody knows how far it came."""
    try:
        verified = verify(job.code, job.constants_bytes)
    except Exception:
        _log.exception("the verifier failed")
        return Defective(reason, verified=False)
    return verified if isinstance(verified, Refused) else Defective(reason, verified=True)
