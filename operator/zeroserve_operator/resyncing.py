"""Resyncing: what watches did not tell.

In: listings of the API server. Out: `Differences`: objects that were missed, and those that are gone. A watch
that reconnects after a gap tells no deletions, and one may go deaf: so names and versions are listed from
time to time and compared with what was seen.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from zeroserve_operator.cluster_client import ClusterError, Requests
from zeroserve_operator.kinds import API_KINDS, ApiKind
from zeroserve_operator.metrics import WATCH_MISSED, WATCH_STALENESS
from zeroserve_operator.resources.objects import Kind, ObjectKey, identify

logger = logging.getLogger(__name__)

METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
GRACE_S = 5.0
"""A listing may be ahead of the watches by so much."""
MISSED_MAX = 1000
"""Objects read one by one in a round; more than that come with the next ones."""

Versions = Mapping[ObjectKey, str]


@dataclass(frozen=True, slots=True)
class Differences:
    """What watches did not tell."""

    missed: tuple[ObjectKey, ...]
    gone: tuple[ObjectKey, ...]


class Lister(Requests, Protocol):
    """What is needed of `ClusterClient`."""

    def list_items(
        self, path: str, *, field_selector: str = "", accept: str = "application/json"
    ) -> Iterator[dict[str, Any]]:
        """Yield the items of a collection."""
        ...


def list_all(client: Lister, namespaces: tuple[str, ...]) -> Iterator[tuple[Kind, dict[str, Any]]]:
    """Yield every object of every kind; a kind that the cluster does not have has none."""
    for api in API_KINDS.values():
        for raw in _list_kind(client, api, namespaces):
            yield api.kind, raw


def find_differences(
    client: Lister, namespaces: tuple[str, ...], seen: Callable[[], Versions]
) -> Differences:
    """Compare what is listed with what was seen; what differs is looked at again after a while."""
    listed: dict[ObjectKey, str] = {}
    for api in API_KINDS.values():
        for raw in _list_kind(client, api, namespaces, METADATA_ONLY):
            key = identify(api.kind, raw, "")
            if isinstance(key, ObjectKey):
                listed[key] = str((raw.get("metadata") or {}).get("resourceVersion"))
    before = dict(seen())
    doubtful = {key for key in {*listed, *before} if listed.get(key) != before.get(key)}
    if doubtful:
        time.sleep(GRACE_S)
    after = seen()
    # What the watches told meanwhile is newer than the listing.
    still = [key for key in doubtful if after.get(key) == before.get(key)]
    return Differences(
        missed=tuple(key for key in still if key in listed)[:MISSED_MAX],
        gone=tuple(key for key in still if key not in listed),
    )


def read_missed(client: Lister, keys: tuple[ObjectKey, ...]) -> Iterator[tuple[Kind, dict[str, Any]]]:
    """Read objects one by one."""
    for key in keys:
        try:
            yield key.kind, client.request("GET", API_KINDS[key.kind].path(key))
        except ClusterError as error:
            if error.status != 404:
                raise


def report_missed(differences: Differences, since_s: float) -> None:
    """Show in metrics and log which watches were deaf, and for how long at most."""
    deaf = {key.kind for key in (*differences.missed, *differences.gone)}
    for kind in API_KINDS:
        WATCH_STALENESS.labels(kind.value).set(since_s if kind in deaf else 0)
    for key in (*differences.missed, *differences.gone):
        WATCH_MISSED.labels(key.kind.value).inc()
    if deaf:
        names = ", ".join(sorted(kind.value for kind in deaf))
        logger.warning("watches told nothing of changes of %s; they are taken in now", names)


def _list_kind(
    client: Lister, api: ApiKind, namespaces: tuple[str, ...], accept: str = "application/json"
) -> Iterator[dict[str, Any]]:
    for namespace in namespaces if namespaces and api.namespaced else ("",):
        path = api.collection(namespace)
        try:
            yield from client.list_items(path, field_selector=api.field_selector, accept=accept)
        except ClusterError as error:
            if error.status != 404:
                raise
