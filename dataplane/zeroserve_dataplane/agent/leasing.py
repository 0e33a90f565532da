"""Tokens of rate limits that all nodes share, leased from a store: Redis from 5 on, Valkey.

In: what an engine needs and gives back (`TokenNeed`). Out: how many tokens the store took out of each bucket,
and how long until the next one. Who calls: `granting`. Rules: a bucket is one key, the time at which it is
whole again by the store's clock (GCRA), read and written by one script, so that nodes together never get more
than the rate; a store that fails once is away until it answers again, and nobody waits for it meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import redis.asyncio as redis
from redis.asyncio.connection import SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from zeroserve_ir._pb import control_pb2 as control

from zeroserve_dataplane.agent.encrypting import EncryptedConnection

logger = logging.getLogger(__name__)

SOCKET_TIMEOUT_S = 0.2
LEASE_TIMEOUT_S = 0.25
"""Below the engine's own patience (sharing.rs, LEASE_NS_MAX): it hears that the store is away."""
CONNECT_TIMEOUT_S = 1.0
_FAILURES = (RedisError, OSError, UnicodeError)
"""The last one: a host that is no name."""
BEAT_S = 1.0
"""Between two signs of life; each also counts the nodes."""
RETRY_S = 0.25
PREFIX = "zeroserve:limit:"
_FOREIGN = re.compile(r"[^!-9;-~]")
"""What does not belong into the readable part of a key: blanks, colons, all that is not ASCII."""
_ZONE_MAX = 120

# Times are microseconds since 2023-11: small enough for a double to keep parts of them.
_LEASE = """
local time = redis.call('TIME')
local now = (time[1] - 1700000000) * 1000000 + time[2]
local answer = {}
for i = 1, #KEYS do
  local interval, burst = ARGV[4 * i - 3] / 1000, tonumber(ARGV[4 * i - 2])
  local wanted, returned = tonumber(ARGV[4 * i - 1]), tonumber(ARGV[4 * i])
  local room = interval * burst
  local kept = redis.call('GET', KEYS[i])
  -- Never further ahead than the burst: the clock was set back, or the rate was changed.
  local whole = math.min(tonumber(kept or now), now + room)
  whole = math.max(whole - returned * interval, now)
  local granted = math.min(wanted, math.floor((now + room - whole) / interval + 0.000001))
  whole = whole + granted * interval
  local wait = 0
  if granted < wanted then
    wait = math.max(1, math.ceil(whole + interval - room - now))
  end
  if whole > now then
    redis.call('SET', KEYS[i], string.format('%.3f', whole), 'PX', math.ceil((whole - now) / 1000) + 1000)
  elseif kept then
    redis.call('DEL', KEYS[i])
  end
  answer[2 * i - 1], answer[2 * i] = granted, wait
end
return answer
"""
_BEAT = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
redis.call('EXPIRE', KEYS[1], 3600)
return redis.call('ZCARD', KEYS[1])
"""
_NODE_LIFE_S = 10


class StoreAwayError(Exception):
    """No tokens can be had now."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The answer to one need."""

    granted: int
    wait_us: int
    """Until the next token, where fewer were granted than wanted; else 0."""


@dataclass(slots=True)
class LeaseCounts:
    """For metrics."""

    requests: int = 0
    """To the store, each with leases of many keys."""
    seconds: float = 0.0
    """That they took."""
    leases: int = 0
    granted: int = 0
    returned: int = 0
    failures: int = 0


class Store:
    """One store; `run` must be running, and `on_change` hears when it comes, goes, or counts other nodes."""

    def __init__(self, address: str, on_change: Callable[[], None], counts: LeaseCounts) -> None:
        """ValueError where the address is none."""
        self.up = False
        self.nodes = 0
        """That were there when it answered last; 0 before it did."""
        self._on_change = on_change
        self._counts = counts
        self._identity = uuid.uuid4().hex
        pool = redis.ConnectionPool.from_url(
            address,
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        if pool.connection_class is SSLConnection:
            pool.connection_class = EncryptedConnection
        self._client = redis.Redis.from_pool(pool)
        self._lease = self._client.register_script(_LEASE)
        self._beat = self._client.register_script(_BEAT)
        arguments = pool.connection_kwargs
        self._shown = f"{arguments.get('host')}:{arguments.get('port', 6379)}"

    async def lease(self, needs: Sequence[control.TokenNeed]) -> list[Lease]:
        """Take and give back tokens, all at one moment. StoreAwayError: nothing is known about any."""
        if not self.up:
            raise StoreAwayError(self._shown)
        keys = [find_key(need) for need in needs]
        numbers = [
            str(number)
            for need in needs
            for number in (max(1, need.interval_ns), max(1, need.burst), need.wanted, need.returned)
        ]
        begun = time.monotonic()
        try:
            async with asyncio.timeout(LEASE_TIMEOUT_S):
                answer = await self._lease(keys=keys, args=numbers)
        except _FAILURES as error:
            self._note_failure(error)
            raise StoreAwayError(self._shown) from error
        leases = [Lease(int(answer[i]), int(answer[i + 1])) for i in range(0, len(answer), 2)]
        counts = self._counts
        counts.requests += 1
        counts.leases += len(leases)
        counts.seconds += time.monotonic() - begun
        counts.granted += sum(lease.granted for lease in leases)
        counts.returned += sum(need.returned for need in needs)
        return leases

    async def run(self) -> None:
        """Keep in touch until cancelled; then be counted no more."""
        try:
            while True:
                await self._sign()
                await asyncio.sleep(BEAT_S if self.up else RETRY_S)
        finally:
            with contextlib.suppress(RedisError, OSError):
                async with asyncio.timeout(LEASE_TIMEOUT_S):
                    await self._client.zrem(f"{PREFIX}nodes", self._identity)
            with contextlib.suppress(RedisError, OSError):
                await self._client.aclose()

    async def _sign(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S + LEASE_TIMEOUT_S):
                nodes = int(await self._beat(keys=[f"{PREFIX}nodes"], args=[self._identity, _NODE_LIFE_S]))
        except _FAILURES as error:
            self._note_failure(error)
            return
        if not self.up:
            logger.info("the store of shared rate limits %s answers", self._shown)
        changed = not self.up or nodes != self.nodes
        self.up, self.nodes = True, nodes
        if changed:
            self._on_change()

    def _note_failure(self, error: Exception) -> None:
        self._counts.failures += 1
        if self.up or not self.nodes:
            # Of the first failures one is told: a store that was never there.
            reason = str(error) or type(error).__name__
            log = logger.error if self.up or self._counts.failures == 1 else logger.debug
            log("the store of shared rate limits %s is away: %s", self._shown, reason)
        if self.up:
            self.up = False
            self._on_change()


def find_key(need: control.TokenNeed) -> str:
    """Return the bucket's key: zone, to be read by people, and the digest that decides."""
    zone = _FOREIGN.sub("_", need.zone)[:_ZONE_MAX]
    return f"{PREFIX}bucket:{zone}:{need.bucket.hex()}"
