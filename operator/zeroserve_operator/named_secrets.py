"""Secrets and ConfigMaps that no watch covers: read when an object names them, then followed by name.

In: which of them objects refer to. Out: each of them as it is now, or that it is gone. Called by `running`.
Rule: only what is referred to is read, so that RBAC's wide right is used narrowly. Accounts (basic auth) and
whatever else is there under another type than TLS are watched one by one; a missing TLS Secret shows in the
watch of its kind once it is made, so a look from time to time is enough.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from zeroserve_operator.cluster_client import ClusterError
from zeroserve_operator.kinds import NAMED_KINDS
from zeroserve_operator.resources.objects import ObjectKey
from zeroserve_operator.waiting import wait_at_most

logger = logging.getLogger(__name__)

WATCHES_MAX = 64
"""A thread and a connection each; Secrets beyond are read from time to time."""
WATCH_TIMEOUT_S = 120
"""The API server ends a watch then, and it begins anew with a listing."""
RETRY_S = 1.0

Take = Callable[[ObjectKey, Mapping[str, Any] | None], None]
"""Takes a Secret as it is now; None: it is gone."""


class Reader(Protocol):
    """What is needed of `ClusterClient`."""

    def request(
        self, method: str, path: str, body: Any = None, *, query: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Send one request."""
        ...

    def watch(self, path: str, query: Mapping[str, str], timeout_s: int) -> Iterator[dict[str, Any]]:
        """Yield the events of a watch until it ends."""
        ...


class NamedSecrets:
    """Reads and follows."""

    def __init__(
        self,
        client: Reader,
        named: Callable[[], set[ObjectKey]],
        accounts: Callable[[], set[ObjectKey]],
        take: Take,
    ) -> None:
        """`named`: all that is referred to and that no watch covers; `accounts`: for basic auth."""
        self._client = client
        self._named = named
        self._accounts = accounts
        self._take = take
        self._wanted = asyncio.Event()
        self._known: set[ObjectKey] = set()
        self._watches: dict[ObjectKey, _Watch] = {}

    def want(self) -> None:
        """Hear that references may have changed."""
        self._wanted.set()

    async def run(self, refresh_s: float, holdoff_s: float) -> None:
        """Read when references change, and from time to time, until cancelled."""
        try:
            while True:
                if await wait_at_most(self._wanted, refresh_s):
                    await asyncio.sleep(holdoff_s)
                self._wanted.clear()
                try:
                    await self.read()
                except ClusterError as error:
                    logger.warning("Secrets cannot be read: %s", error)
        finally:
            for watch in self._watches.values():
                watch.stop()

    async def read(self) -> None:
        """Read what is named and not watched, forget what is named no more, and watch what shall be."""
        named = self._named()
        for key in self._known - named:
            self._take(key, None)
        self._known &= named
        for key in sorted(named - self._watches.keys(), key=lambda key: key.order):
            self._put(key, await asyncio.to_thread(self._read_one, key))
        self._watch(named)

    def _watch(self, named: set[ObjectKey]) -> None:
        followed = named & (self._accounts() | self._known)
        for key in self._watches.keys() - followed:
            self._watches.pop(key).stop()
        missing = sorted(followed - self._watches.keys(), key=lambda key: key.order)
        room = WATCHES_MAX - len(self._watches)
        if len(missing) > room:
            logger.info("%d Secrets are read every few seconds, not watched", len(missing) - room)
        for key in missing[:room]:
            self._watches[key] = _Watch(self._client, key, asyncio.get_running_loop(), self._hear)

    def _hear(self, watch: _Watch, raw: Mapping[str, Any] | None) -> None:
        if self._watches.get(watch.key) is watch:
            self._put(watch.key, raw)

    def _put(self, key: ObjectKey, raw: Mapping[str, Any] | None) -> None:
        if raw is not None:
            self._known.add(key)
            self._take(key, raw)
        elif key in self._known:
            self._known.discard(key)
            self._take(key, None)

    def _read_one(self, key: ObjectKey) -> dict[str, Any] | None:
        try:
            return self._client.request("GET", NAMED_KINDS[key.kind].path(key))
        except ClusterError as error:
            if error.status == 404:
                return None
            raise


class _Watch:
    """Follows one Secret in a thread of its own, and tells the event loop."""

    def __init__(
        self,
        client: Reader,
        key: ObjectKey,
        loop: asyncio.AbstractEventLoop,
        hear: Callable[[_Watch, Mapping[str, Any] | None], None],
    ) -> None:
        self.key = key
        self._client = client
        self._loop = loop
        self._hear = hear
        self._is_stopped = False
        threading.Thread(target=self._run, name=f"secret {key.name}", daemon=True).start()

    def stop(self) -> None:
        """Tell nothing more; the thread ends with the next event, or when the API server ends the watch."""
        self._is_stopped = True

    def _run(self) -> None:
        while not self._is_stopped:
            try:
                self._follow()
            except ClusterError as error:
                logger.warning("Secret %s/%s: %s", self.key.namespace, self.key.name, error)
                time.sleep(RETRY_S)
            except RuntimeError:  # the event loop is closed
                return

    def _follow(self) -> None:
        """List, then watch from there."""
        path = NAMED_KINDS[self.key.kind].collection(self.key.namespace)
        query = {"fieldSelector": f"metadata.name={self.key.name}"}
        listed = self._client.request("GET", path, query=query)
        items = listed.get("items") or ()
        self._tell(items[0] if items else None)
        query["resourceVersion"] = str((listed.get("metadata") or {}).get("resourceVersion") or "")
        for event in self._client.watch(path, query, WATCH_TIMEOUT_S):
            if self._is_stopped or event.get("type") in ("ERROR", "BOOKMARK"):
                return
            self._tell(None if event.get("type") == "DELETED" else event["object"])

    def _tell(self, raw: Mapping[str, Any] | None) -> None:
        if not self._is_stopped:
            self._loop.call_soon_threadsafe(self._hear, self, raw)
