"""Hosting: one operator process, with its discovery service, its certificate and its authentication.

In: settings and a client. Out: runs until stopped. Rule: agents are admitted by TokenReview, over TLS from
the operator's own authority, which is looked after while the operator runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
from dataclasses import dataclass

from zeroserve_operator.cluster_client import ClusterClient, ClusterError
from zeroserve_operator.publishing.serving import DiscoveryServer
from zeroserve_operator.publishing.trusting import LEAF_RENEWAL, TrustState
from zeroserve_operator.reviewing import TokenReviewer
from zeroserve_operator.running import run_operator
from zeroserve_operator.settings import OperatorSettings
from zeroserve_operator.trust_keeping import TrustKeeper

logger = logging.getLogger(__name__)

REFRESH_S = 3600
RETRY_S = 2.0


@dataclass(frozen=True, slots=True)
class HostingSettings:
    """Where agents connect."""

    listen: str = "[::]:9443"


async def host_operator(
    settings: OperatorSettings, hosting: HostingSettings, client: ClusterClient, stop: asyncio.Event
) -> None:
    """Run the operator and its discovery service until `stop`."""
    keeper = TrustKeeper(client, settings.namespace, f"{settings.lease_name}-ca")
    server = DiscoveryServer(TokenReviewer(client, settings.namespace).review)
    state = await _refresh_until_done(keeper, stop)
    if state is None:
        return
    await server.start(hosting.listen, state.issue_leaf(_now()))
    renewing = asyncio.create_task(_renew_forever(keeper, server))
    try:
        await run_operator(settings, server, stop)
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)
        await server.stop()


async def _refresh_until_done(keeper: TrustKeeper, stop: asyncio.Event) -> TrustState | None:
    while not stop.is_set():
        try:
            return await asyncio.to_thread(keeper.refresh, _now())
        except ClusterError as error:
            logger.warning("the certificate authority cannot be read yet: %s", error)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), RETRY_S)
    return None


async def _renew_forever(keeper: TrustKeeper, server: DiscoveryServer) -> None:
    """Rotate roots and renew this replica's leaf in time."""
    issued_at = _now()
    signer = b""
    while True:
        await asyncio.sleep(REFRESH_S)
        try:
            state = await asyncio.to_thread(keeper.refresh, _now())
        except ClusterError as error:
            logger.warning("the certificate authority cannot be looked after: %s", error)
            continue
        if state.active.certificate_pem != signer or _now() - issued_at > LEAF_RENEWAL:
            server.replace_leaf(state.issue_leaf(_now()))
            issued_at, signer = _now(), state.active.certificate_pem


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
