"""Upstreams by DNS: A, AAAA and SRV records, of the system's resolver or of others.

In: `UpstreamSource` messages. Out: endpoints with literal addresses. Who calls: `resolving`. Rules: a source
whose lookup fails keeps what it had, for its grace period where it has one; answers are bounded.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from zeroserve_ir._pb import resources_pb2 as pb

logger = logging.getLogger(__name__)

TIMEOUT_S = 6.0
LOOKUPS_AT_ONCE_MAX = 16
REFRESH_S_MIN = 1.0
RETRY_S = 8.0
"""After a look-up that failed, where the refresh time is longer."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a source gave, and when (monotonic seconds)."""

    endpoints: tuple[tuple[str, int, str], ...]
    """(address, port, name)."""
    at_s: float


class SourceResolver:
    """Endpoints by source; `clock` is in monotonic seconds."""

    def __init__(self) -> None:
        self.clock = time.monotonic
        self._found: dict[bytes, Found] = {}
        self._asked_at_s: dict[bytes, float] = {}
        self._failed: set[bytes] = set()
        self._slots = asyncio.Semaphore(LOOKUPS_AT_ONCE_MAX)

    @property
    def refresh_s(self) -> float:
        """The shortest refresh time of the sources in use."""
        shortest = min(
            (pb.UpstreamSource.FromString(key).refresh_ms for key in self._asked_at_s), default=1 << 30
        )
        return max(shortest / 1000, REFRESH_S_MIN)

    async def ensure(self, sources: Iterable[pb.UpstreamSource]) -> None:
        """Look up the sources that were never looked up."""
        await self._look_up(source for source in sources if _key(source) not in self._asked_at_s)

    async def refresh(self, sources: Iterable[pb.UpstreamSource]) -> bool:
        """Look up the sources whose refresh time has come, forget all others; whether endpoints changed."""
        wanted = {_key(source): source for source in sources}
        self._found = {key: found for key, found in self._found.items() if key in wanted}
        self._asked_at_s = {key: at_s for key, at_s in self._asked_at_s.items() if key in wanted}
        self._failed &= wanted.keys()
        before = {key: self.find(source) for key, source in wanted.items()}
        now_s = self.clock()
        due = [
            source
            for key, source in wanted.items()
            if now_s - self._asked_at_s.get(key, -1e9) >= self._find_pause_s(key, source)
        ]
        await self._look_up(due)
        return any(before[key] != self.find(source) for key, source in wanted.items())

    def find(self, source: pb.UpstreamSource) -> tuple[tuple[str, int, str], ...]:
        """Return (address, port, name) of a source's endpoints, as far as they are known and fresh."""
        found = self._found.get(_key(source))
        if found is None:
            return ()
        limit_s = (source.refresh_ms + source.grace_ms) / 1000
        if source.grace_ms and self.clock() - found.at_s > limit_s + TIMEOUT_S:
            return ()
        return found.endpoints

    def _find_pause_s(self, key: bytes, source: pb.UpstreamSource) -> float:
        pause_s = max(source.refresh_ms / 1000, REFRESH_S_MIN)
        return min(pause_s, RETRY_S) if key in self._failed else pause_s

    async def _look_up(self, sources: Iterable[pb.UpstreamSource]) -> None:
        await asyncio.gather(*(self._look_up_one(source) for source in sources))

    async def _look_up_one(self, source: pb.UpstreamSource) -> None:
        # Loaded for those who need it: it takes a quarter of a start.
        from zeroserve_dataplane.agent.looking_up import LookupFailedError, ask  # noqa: PLC0415

        key = _key(source)
        self._asked_at_s[key] = self.clock()
        try:
            async with self._slots, asyncio.timeout(TIMEOUT_S):
                endpoints = await ask(source)
        except (LookupFailedError, TimeoutError) as error:
            logger.warning("upstreams of %s cannot be found: %s", source.name, str(error) or "timeout")
            self._failed.add(key)
            return
        self._failed.discard(key)
        self._found[key] = Found(endpoints, self.clock())


def _key(source: pb.UpstreamSource) -> bytes:
    return source.SerializeToString(deterministic=True)
