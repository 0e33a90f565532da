"""Hosting: one operator process, with its discovery service, its certificate and its authentication.

In: settings and a client. Out: runs until stopped. Rule: agents and other replicas are admitted by
TokenReview, over TLS from the operator's own authority, which is looked after while the operator runs.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
from dataclasses import dataclass
from pathlib import Path

from zeroserve_ir.host_names import spell_authority

from zeroserve_operator.cluster_client import ClusterClient, ClusterError
from zeroserve_operator.freshness import Freshness
from zeroserve_operator.leading import Election
from zeroserve_operator.publishing.forwarding import Forwarder, ForwardingSettings, LocatingError
from zeroserve_operator.publishing.serving import DiscoveryServer
from zeroserve_operator.publishing.trusting import LEAF_RENEWAL, TrustState
from zeroserve_operator.reviewing import TokenReviewer
from zeroserve_operator.running import Operator, run_operator
from zeroserve_operator.settings import OperatorSettings
from zeroserve_operator.trust_keeping import TrustKeeper
from zeroserve_operator.waiting import wait_at_most

logger = logging.getLogger(__name__)

REFRESH_S = 3600
RETRY_S = 2.0


@dataclass(frozen=True, slots=True)
class HostingSettings:
    """Where agents connect, and who we are to other replicas."""

    listen: str = "[::]:9443"
    token_file: Path = Path("/var/run/secrets/zeroserve-operator/token")
    """A token for the operator's own audience, which other replicas review."""

    @property
    def port(self) -> str:
        """The port of every replica."""
        return self.listen.rpartition(":")[2]


async def host_operator(
    settings: OperatorSettings, hosting: HostingSettings, client: ClusterClient, stop: asyncio.Event
) -> None:
    """Run the operator and its discovery service until `stop`."""
    keeper = TrustKeeper(client, settings.namespace, f"{settings.lease_name}-ca")
    state = await _refresh_until_done(keeper, stop)
    if state is None:
        return
    freshness = Freshness()
    election = Election(
        client,
        settings.namespace,
        settings.lease_name,
        settings.identity,
        duration_s=settings.lease_duration_s,
        reached=freshness.note_reached,
    )
    reviewer = TokenReviewer(client, settings.namespace)
    server = DiscoveryServer(
        reviewer.review,
        on_changed=lambda acknowledgements: forwarder.notice(),
        is_holder=lambda: election.is_leading,
    )
    trust = Trust(keeper, server, state)
    forwarder = Forwarder(
        ForwardingSettings(settings.identity, lambda: trust.state.bundle_pem, hosting.token_file),
        server.acknowledgements,
        lambda: election.holder,
        lambda holder: asyncio.to_thread(_locate, client, settings.namespace, holder, hosting.port),
    )
    await server.start(hosting.listen, state.issue_leaf(_now()))
    beside = [asyncio.create_task(trust.renew_forever()), asyncio.create_task(forwarder.run())]
    try:
        await run_operator(Operator(settings, server, client, election, freshness), stop)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await server.stop()


def _locate(client: ClusterClient, namespace: str, pod: str, port: str) -> str:
    """Return where another replica is reached."""
    try:
        found = client.request("GET", f"/api/v1/namespaces/{namespace}/pods/{pod}")
    except ClusterError as error:
        raise LocatingError(f"Pod {pod}: {error}") from error
    address = str((found.get("status") or {}).get("podIP") or "")
    if not address:
        raise LocatingError(f"Pod {pod} has no address")
    return f"{spell_authority(address)}:{port}"


async def _refresh_until_done(keeper: TrustKeeper, stop: asyncio.Event) -> TrustState | None:
    while not stop.is_set():
        try:
            return await asyncio.to_thread(keeper.refresh, _now())
        except ClusterError as error:
            logger.warning("the certificate authority cannot be read yet: %s", error)
        await wait_at_most(stop, RETRY_S)
    return None


class Trust:
    """Keeps the authority and this replica's leaf."""

    def __init__(self, keeper: TrustKeeper, server: DiscoveryServer, state: TrustState) -> None:
        self.state = state
        self._keeper = keeper
        self._server = server
        self._issued_at = _now()

    async def renew_forever(self) -> None:
        """Rotate roots and renew the leaf in time."""
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                state = await asyncio.to_thread(self._keeper.refresh, _now())
            except ClusterError as error:
                logger.warning("the certificate authority cannot be looked after: %s", error)
                continue
            is_other = state.active.certificate_pem != self.state.active.certificate_pem
            self.state = state
            if is_other or _now() - self._issued_at > LEAF_RENEWAL:
                self._server.replace_leaf(state.issue_leaf(_now()))
                self._issued_at = _now()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
