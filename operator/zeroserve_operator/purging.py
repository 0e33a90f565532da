"""Old ZeroserveCachePurges are deleted: nodes that were away for longer forget all by themselves.

In: the objects known now. Out: requests to the API server. Called in a thread, by the holder of the Lease.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from zeroserve_ir.purges import PURGE_LIFE_S

from zeroserve_operator.cluster_client import ClusterError, Requests
from zeroserve_operator.kinds import API_KINDS
from zeroserve_operator.resources.objects import Kind, ObjectKey
from zeroserve_operator.resources.purges import CachePurge

logger = logging.getLogger(__name__)

DELETIONS_MAX = 100
"""A round: what is more comes with the next ones."""


def delete_old_purges(client: Requests, purges: Iterable[CachePurge], now: datetime) -> None:
    """Delete those whose life is over; what cannot be deleted is tried again with the next round."""
    for key in list(find_old_purges(purges, now))[:DELETIONS_MAX]:
        try:
            client.request("DELETE", API_KINDS[Kind.CACHE_PURGE].path(key))
        except ClusterError as error:
            if error.status != 404:
                logger.warning("%s is not deleted: %s", key, error)
                return


def find_old_purges(purges: Iterable[CachePurge], now: datetime) -> Iterator[ObjectKey]:
    """Yield what was created longer ago than purges live."""
    since = (now.astimezone(UTC) - timedelta(seconds=PURGE_LIFE_S)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (purge.meta.key for purge in purges if "" < purge.meta.created < since)
