"""Forwards what our nodes answer to the replica that holds the Lease, which counts them in statuses.

In: the acknowledgements of this replica, who holds the Lease, where that Pod is. Out: an `Answers.Forward`
stream, while somebody else holds it. Who calls: `hosting`. Rules: one report is under way at a time, so a
slow holder gets the newest state and no queue; credentials are read anew for each connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
from zeroserve_ir._pb import discovery_pb2 as discovery

from zeroserve_operator.publishing.acknowledgements import Acknowledgements
from zeroserve_operator.publishing.telling import Teller
from zeroserve_operator.publishing.trusting import SERVER_NAME
from zeroserve_operator.waiting import wait_at_most

logger = logging.getLogger(__name__)

RETRY_S = 1.0
HOLDER_POLL_S = 1.0
"""How often the holder is looked at while nothing changes."""
ANSWER_TIMEOUT_S = 20.0
FORWARD_METHOD = "/zeroserve.v1.Answers/Forward"
CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.ssl_target_name_override", SERVER_NAME),
)


class LocatingError(Exception):
    """The holder's Pod has no address, or is gone."""


@dataclass(frozen=True, slots=True)
class ForwardingSettings:
    """Who we are; without `roots` the stream is plain text, for tests on loopback."""

    identity: str
    roots: Callable[[], bytes] | None = None
    """Returns the certificates (PEM) to trust now."""
    token_file: Path | None = None


class Forwarder:
    """Keeps one stream to the holder, whoever it is."""

    def __init__(
        self,
        settings: ForwardingSettings,
        acknowledgements: Acknowledgements,
        holder: Callable[[], str],
        locate: Callable[[str], Awaitable[str]],
    ) -> None:
        """`holder` names the Lease's holder; `locate` returns its `host:port`; LocatingError."""
        self._settings = settings
        self._acknowledgements = acknowledgements
        self._holder = holder
        self._locate = locate
        self._changed = asyncio.Event()

    def notice(self) -> None:
        """Hear that the acknowledgements changed."""
        self._changed.set()

    async def run(self) -> None:
        """Forward until cancelled."""
        while True:
            holder = self._holder()
            if holder and holder != self._settings.identity:
                try:
                    await self._follow(holder, await self._locate(holder))
                except grpc.aio.AioRpcError as error:
                    logger.warning("answers to %s: %s: %s", holder, error.code().name, error.details())
                except (LocatingError, OSError) as error:
                    logger.warning("answers to %s: %s", holder, error)
            await asyncio.sleep(RETRY_S)

    async def _follow(self, holder: str, address: str) -> None:
        """Tell all, then what changes, until another replica holds the Lease."""
        teller = Teller()
        async with self._open_channel(address) as channel:
            open_stream = channel.stream_stream(
                FORWARD_METHOD,
                request_serializer=discovery.AnswersReport.SerializeToString,
                response_deserializer=discovery.AnswersTaken.FromString,
            )
            call = open_stream(None, metadata=self._make_metadata())
            logger.info("forwarding what nodes answer to %s", holder)
            while self._holder() == holder:
                self._changed.clear()
                report = teller.report(self._acknowledgements.own)
                if report is not None:
                    await call.write(report)
                    async with asyncio.timeout(ANSWER_TIMEOUT_S):
                        taken = await call.read()
                    if not isinstance(taken, discovery.AnswersTaken):
                        return
                    continue
                await wait_at_most(self._changed, HOLDER_POLL_S)
                if call.done():
                    return

    def _open_channel(self, address: str) -> grpc.aio.Channel:
        if self._settings.roots is None:
            return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        credentials = grpc.ssl_channel_credentials(self._settings.roots())
        return grpc.aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS)

    def _make_metadata(self) -> grpc.aio.Metadata:
        if self._settings.token_file is None:
            return grpc.aio.Metadata()
        token = self._settings.token_file.read_text().strip()
        return grpc.aio.Metadata(("authorization", f"Bearer {token}"))
