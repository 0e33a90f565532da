"""Patching: the only writer of statuses and Events.

In: what became of the objects, as data that the event loop put together. Out: requests to the API server.
Called in a thread, by the holder of the Lease alone. Rule: what was written once is written again only when
it differs; a refused write is tried again with the next round, and keeps no other object waiting.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from zeroserve_operator.building.model import ObjectOutcome
from zeroserve_operator.cluster_client import ClusterError
from zeroserve_operator.kinds import API_KINDS
from zeroserve_operator.metrics import STATUS_WRITES
from zeroserve_operator.resources.objects import Kind, ObjectKey
from zeroserve_operator.statuses import (
    EventNotice,
    NodeCount,
    list_notices,
    make_event,
    make_ingress_status,
    make_plugin_status,
    make_purge_status,
    make_route_status,
)

logger = logging.getLogger(__name__)

STATUS_MAKERS = {
    Kind.ZEROSERVE_ROUTE: make_route_status,
    Kind.ZEROSERVE_PLUGIN: make_plugin_status,
    Kind.CACHE_PURGE: make_purge_status,
}
"""For the kinds whose status tells what nodes made of them."""
EVENT_AGAIN_S = 1800
"""Events live an hour: what still holds is told again before they are gone."""
EVENTS_A_ROUND_MAX = 200
"""A cluster full of errors must not flood the API server; the rest comes with the next rounds."""
MERGE_PATCH = "application/merge-patch+json"


class Requests(Protocol):
    """What is needed of `ClusterClient`."""

    def request(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json"
    ) -> dict[str, Any]:
        """Send one request."""
        ...


@dataclass(frozen=True, slots=True)
class ObjectReport:
    """One object, as it is and as it shall be told."""

    key: ObjectKey
    uid: str
    outcome: ObjectOutcome
    nodes: NodeCount
    addresses_now: tuple[str, ...] = ()


class Patcher:
    """Writes; remembers what it wrote."""

    def __init__(self, client: Requests, steady: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._steady = steady
        self._routes: dict[ObjectKey, tuple[ObjectOutcome, NodeCount]] = {}
        self._events: dict[tuple[ObjectKey, str], float] = {}

    def forget(self) -> None:
        """Forget what was written: somebody else led meanwhile."""
        self._routes.clear()
        self._events.clear()

    def write(self, reports: Sequence[ObjectReport], addresses: Sequence[str]) -> None:
        """Bring all statuses up to date and tell new findings."""
        for report in reports:
            if report.key.kind is Kind.INGRESS and addresses and report.outcome.hosts:
                self._write_ingress(report, addresses)
            elif report.key.kind in STATUS_MAKERS:
                self._write_route(report)
        known = {report.key for report in reports}
        self._routes = {key: value for key, value in self._routes.items() if key in known}
        self._tell(reports)

    def _write_ingress(self, report: ObjectReport, addresses: Sequence[str]) -> None:
        if sorted(report.addresses_now) != sorted(set(addresses)):
            self._patch_status(report.key, make_ingress_status(addresses))

    def _write_route(self, report: ObjectReport) -> None:
        wanted = (report.outcome, report.nodes)
        if self._routes.get(report.key) == wanted:
            return
        try:
            current = self._client.request("GET", API_KINDS[report.key.kind].path(report.key))
        except ClusterError as error:
            self._complain(report.key, error)
            return
        before = current.get("status") or {}
        if (current.get("metadata") or {}).get("generation", 0) > report.outcome.generation:
            return
        status = STATUS_MAKERS[report.key.kind](report.outcome, report.nodes, before, _now())
        if status == before or self._patch_status(report.key, status):
            self._routes[report.key] = wanted

    def _patch_status(self, key: ObjectKey, status: Mapping[str, Any]) -> bool:
        path = f"{API_KINDS[key.kind].path(key)}/status"
        try:
            self._client.request("PATCH", path, {"status": status}, content_type=MERGE_PATCH)
        except ClusterError as error:
            self._complain(key, error)
            return False
        STATUS_WRITES.labels("written").inc()
        return True

    def _tell(self, reports: Sequence[ObjectReport]) -> None:
        uids = {report.key: report.uid for report in reports}
        found = list_notices({report.key: report.outcome for report in reports}, uids)
        now = self._steady()
        current = {(notice.key, notice.name) for notice in found}
        self._events = {key: told for key, told in self._events.items() if key in current}
        fresh = [
            notice
            for notice in found
            if now - self._events.get((notice.key, notice.name), float("-inf")) >= EVENT_AGAIN_S
        ]
        for notice in fresh[:EVENTS_A_ROUND_MAX]:
            if self._write_event(notice):
                self._events[notice.key, notice.name] = now

    def _write_event(self, notice: EventNotice) -> bool:
        space = notice.key.namespace or "default"
        path = f"/api/v1/namespaces/{space}/events"
        try:
            self._client.request("POST", path, make_event(notice, _now()))
        except ClusterError as error:
            if error.status == 409:
                return self._renew_event(f"{path}/{notice.name}")
            if error.status == 404:
                return True
            self._complain(notice.key, error)
            return False
        STATUS_WRITES.labels("written").inc()
        return True

    def _renew_event(self, path: str) -> bool:
        """Count on an Event that is there already."""
        try:
            current = self._client.request("GET", path)
            count = int(current.get("count") or 1) + 1
            body = {"count": count, "lastTimestamp": _now()}
            self._client.request("PATCH", path, body, content_type=MERGE_PATCH)
        except ClusterError as error:
            # Without the right to read Events: it was told, that is what counts.
            logger.debug("event %s not counted on: %s", path, error)
        return True

    def _complain(self, key: ObjectKey, error: ClusterError) -> None:
        STATUS_WRITES.labels("refused").inc()
        if error.status != 404:
            logger.warning("status of %s not written: %s", key, error)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
