"""Leader election by a Lease (coordination.k8s.io/v1), as client-go's leaderelection does it.

In: our identity, the Lease, a clock. Out: whether we hold it. Rule: who cannot renew stops leading before
another one may begin: local time counts from the request, and the deadline is shorter than the duration. Only
the holder writes statuses and Events; every replica serves snapshots.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from zeroserve_operator.cluster_client import ClusterError, Requests

logger = logging.getLogger(__name__)

RENEW_PART = 3
"""Renewed so often within its duration: one lost request does not cost the Lease."""


@dataclass(frozen=True, slots=True)
class Observed:
    """A holder's mark and when we first saw it, by our own clock: clocks of others are not trusted."""

    mark: tuple[str, str, int]
    since_s: float


class Election:
    """One candidate."""

    def __init__(
        self,
        client: Requests,
        namespace: str,
        name: str,
        identity: str,
        *,
        duration_s: int = 15,
        steady: Callable[[], float] = time.monotonic,
        reached: Callable[[], None] = lambda: None,
    ) -> None:
        """`reached` hears of each answer of the API server."""
        self._client = client
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._name = name
        self.identity = identity
        self.duration_s = duration_s
        self._steady = steady
        self._reached = reached
        self.holder = ""
        """Who holds the Lease, as last read."""
        self._observed: Observed | None = None
        self._renewed_s = float("-inf")

    @property
    def is_leading(self) -> bool:
        """Whether we hold the Lease for certain."""
        return self._steady() - self._renewed_s < self.duration_s * 2 / RENEW_PART

    def attempt(self) -> bool:
        """Take or renew the Lease once; errors of the API server count as not now."""
        begun = self._steady()
        try:
            if self._try_once():
                self._renewed_s = begun
        except ClusterError as error:
            logger.warning("lease %s: %s", self._name, error)
        return self.is_leading

    def release(self) -> None:
        """Give the Lease up, so that the next one need not wait."""
        if not self.is_leading:
            return
        self._renewed_s = float("-inf")
        try:
            lease = self._client.request("GET", f"{self._collection}/{self._name}")
            if lease.get("spec", {}).get("holderIdentity") == self.identity:
                lease["spec"].update(holderIdentity="", leaseDurationSeconds=1)
                self._client.request("PUT", f"{self._collection}/{self._name}", lease)
        except ClusterError as error:
            logger.info("lease %s not released: %s", self._name, error)

    async def run(self, changed: Callable[[bool], None]) -> None:
        """Go on trying; tell each time that we begin or end to lead."""
        leading = False
        while True:
            await asyncio.to_thread(self.attempt)
            if self.is_leading != leading:
                leading = self.is_leading
                logger.info("lease %s: %s", self._name, "leading" if leading else "no longer leading")
                changed(leading)
            await asyncio.sleep(self.duration_s / RENEW_PART / 2)

    def _try_once(self) -> bool:
        path = f"{self._collection}/{self._name}"
        try:
            lease = self._client.request("GET", path)
            self._reached()
        except ClusterError as error:
            if error.status != 404:
                raise
            self._reached()
            body = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._name},
                "spec": self._spec(0, True),
            }
            return self._write("POST", self._collection, body)
        spec = lease.get("spec") or {}
        holder = self.holder = spec.get("holderIdentity") or ""
        transitions = int(spec.get("leaseTransitions") or 0)
        mark = (holder, str(spec.get("renewTime")), transitions)
        if self._observed is None or self._observed.mark != mark:
            self._observed = Observed(mark, self._steady())
        lasts = int(spec.get("leaseDurationSeconds") or self.duration_s)
        if holder and holder != self.identity and self._steady() < self._observed.since_s + lasts:
            return False
        taking = holder != self.identity
        before = {} if taking else {"acquireTime": spec.get("acquireTime")}
        lease["spec"] = {**self._spec(transitions + taking, taking), **before}
        return self._write("PUT", path, lease)

    def _spec(self, transitions: int, taking: bool) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self.duration_s,
            "leaseTransitions": transitions,
            "renewTime": now,
        }
        return {**spec, "acquireTime": now} if taking else spec

    def _write(self, method: str, path: str, body: dict[str, Any]) -> bool:
        """Write with the resourceVersion that was read: of two candidates the API server takes one."""
        try:
            self._client.request(method, path, body)
        except ClusterError as error:
            if error.status == 409:
                return False
            raise
        return True
