"""The Discovery server: every agent's stream, from one published snapshot.

In: snapshots by `publish`, agents' streams, what other replicas tell of theirs. Out: deltas, one in flight
for each stream, so that a slow agent gets the newest state when it is ready and never a queue;
acknowledgements, by callback. Who calls: `hosting` and `running`. Rules: nothing is sent before the first
`publish` (never an empty configuration by accident), nor while suspended: streams end then, so that agents go
to replicas that know more; without a reviewer of tokens only a loopback address is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

import grpc
from zeroserve_ir._pb import discovery_pb2 as discovery
from zeroserve_ir.authorities import IssuedCertificate
from zeroserve_ir.drafting import SnapshotDraft, digest_versions
from zeroserve_ir.program.abi import ABI_VERSION

from zeroserve_operator.publishing.acknowledgements import Acknowledgements, Versions
from zeroserve_operator.publishing.deltas import DeltaCache, Published, seal_part
from zeroserve_operator.publishing.telling import Listener, TellingError

logger = logging.getLogger(__name__)

SUBSCRIBE_BYTES_MAX = 32 << 20
"""A Subscribe names all that a node holds: 100,000 resources of 150 bytes stay below."""
STOP_GRACE_S = 2.0
SERVER_OPTIONS = (
    ("grpc.max_receive_message_length", SUBSCRIBE_BYTES_MAX),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.so_reuseport", 0),
)

SUSPENDED = "this replica was cut off from the cluster; another one may know more"

_Stream = grpc.aio.ServicerContext[discovery.DiscoveryRequest, bytes]
_AnswersStream = grpc.aio.ServicerContext[discovery.AnswersReport, discovery.AnswersTaken]


class UnauthenticatedError(Exception):
    """The token is not one of a live Pod of ours."""


class Component(Enum):
    """What a Pod of ours is, by its label."""

    DATAPLANE = "dataplane"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """What a TokenReview says of an agent; `node` is the node that its Pod runs on."""

    node: str
    pod: str = ""
    component: Component = Component.DATAPLANE


Reviewer = Callable[[str], Awaitable[NodeIdentity]]
"""Reviews a bearer token. Raises UnauthenticatedError; any other error counts as "try again"."""


class DiscoveryServer:
    """Serves one snapshot at a time to all connected agents."""

    def __init__(
        self,
        reviewer: Reviewer | None = None,
        on_changed: Callable[[Acknowledgements], None] = lambda acknowledgements: None,
        is_holder: Callable[[], bool] = lambda: True,
    ) -> None:
        """`reviewer` None admits anyone, on loopback only; `on_changed` hears of every answer.

        `is_holder` tells whether this replica counts the nodes of all.
        """
        self.acknowledgements = Acknowledgements()
        self._reviewer = reviewer
        self._on_changed = on_changed
        self._is_holder = is_holder
        self._is_suspended = False
        self._published: Published | None = None
        self._changed = asyncio.Condition()
        self._deltas = DeltaCache()
        self._streams = itertools.count(1)
        self._leaf: IssuedCertificate | None = None
        self._server: grpc.aio.Server | None = None

    async def start(self, address: str, leaf: IssuedCertificate | None = None) -> int:
        """Listen at `host:port` and return the port; `leaf` None is plain text, on loopback only.

        ValueError where the address would be open to strangers; OSError where it is taken.
        """
        if (self._reviewer is None or leaf is None) and not is_loopback(address):
            raise ValueError(f"{address}: without TLS and TokenReview only loopback may be served")
        server = grpc.aio.server(options=SERVER_OPTIONS)
        handler = grpc.stream_stream_rpc_method_handler(
            self._serve_stream, request_deserializer=discovery.DiscoveryRequest.FromString
        )
        answers = grpc.stream_stream_rpc_method_handler(
            self._serve_answers,
            request_deserializer=discovery.AnswersReport.FromString,
            response_serializer=discovery.AnswersTaken.SerializeToString,
        )
        services = (
            grpc.method_handlers_generic_handler("zeroserve.v1.Discovery", {"Stream": handler}),
            grpc.method_handlers_generic_handler("zeroserve.v1.Answers", {"Forward": answers}),
        )
        server.add_generic_rpc_handlers(services)
        try:
            if leaf is None:
                port = server.add_insecure_port(address)
            else:
                self._leaf = leaf
                port = server.add_secure_port(address, self._make_credentials(leaf))
        except RuntimeError as error:
            raise OSError(f"{address}: cannot listen") from error
        await server.start()
        self._server = server
        return port

    def replace_leaf(self, leaf: IssuedCertificate) -> None:
        """Use another certificate from the next handshake on; streams go on."""
        self._leaf = leaf

    async def publish(self, draft: SnapshotDraft) -> None:
        """Make this the snapshot of all nodes; an equal version is no change."""
        if self._published is not None and self._published.draft.version == draft.version:
            return
        async with self._changed:
            self._published = Published.of(draft)
            self._changed.notify_all()

    async def suspend(self) -> None:
        """End the agents' streams and open none, until `resume`; agents go on serving what they have."""
        async with self._changed:
            self._is_suspended = True
            self._changed.notify_all()

    async def resume(self) -> None:
        """Serve the published snapshot again."""
        async with self._changed:
            self._is_suspended = False

    async def stop(self) -> None:
        """End all streams; agents go on serving what they have."""
        if self._server is not None:
            await self._server.stop(STOP_GRACE_S)
            self._server = None

    def _make_credentials(self, leaf: IssuedCertificate) -> grpc.ServerCredentials:
        last: list[IssuedCertificate] = [leaf]

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            current = self._leaf
            if current is None or current is last[0]:
                return None
            last[0] = current
            return _make_configuration(current)

        return grpc.dynamic_ssl_server_credentials(
            _make_configuration(leaf),
            fetch,  # type: ignore[arg-type]  # None is "unchanged", the stubs forgot it
            require_client_authentication=False,
        )

    async def _serve_stream(
        self, requests: AsyncIterator[discovery.DiscoveryRequest], context: _Stream
    ) -> AsyncIterator[bytes]:
        identity = await self._authenticate(context, Component.DATAPLANE)
        if self._is_suspended:
            await context.abort(grpc.StatusCode.UNAVAILABLE, SUSPENDED)
        subscribe = await self._receive_subscribe(requests, context)
        if identity is not None and identity.node != subscribe.node:
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED,
                f"the token's Pod is on {identity.node}, not {subscribe.node}",
            )
        stream = next(self._streams)
        self.acknowledgements.open(stream, subscribe.node)
        self._on_changed(self.acknowledgements)
        logger.info("node %s subscribed, holding %d resources", subscribe.node, len(subscribe.held))
        try:
            held = {(int(entry.type), entry.name): entry.version for entry in subscribe.held}
            async for message in self._send_changes(stream, held, requests):
                yield message
            if self._is_suspended:
                await context.abort(grpc.StatusCode.UNAVAILABLE, SUSPENDED)
        finally:
            self.acknowledgements.close(stream)
            self._on_changed(self.acknowledgements)
            logger.info("the stream of node %s ended", subscribe.node)

    async def _send_changes(
        self, stream: int, held: Versions, requests: AsyncIterator[discovery.DiscoveryRequest]
    ) -> AsyncIterator[bytes]:
        """Yield each change after the answer to the one before; ends when the agent closes its side."""
        digest = digest_versions(held)
        sent = ""
        for nonce in itertools.count(1):
            waiting = asyncio.create_task(self._await_other_than(sent))
            receiving = asyncio.ensure_future(anext(requests, None))
            try:
                await asyncio.wait({waiting, receiving}, return_when=asyncio.FIRST_COMPLETED)
                if not waiting.done():
                    return
                published = waiting.result()
                if published is None:
                    return
                sent = published.draft.version
                parts = self._deltas.encode(held, digest, published)
                for index, part in enumerate(parts):
                    yield seal_part(part, nonce, sent, last=index == len(parts) - 1)
                if not self._take_answer(stream, nonce, published, await receiving):
                    return
                held, digest = published.versions, sent
            finally:
                waiting.cancel()
                receiving.cancel()
                with contextlib.suppress(asyncio.CancelledError, grpc.aio.AbortError, Exception):
                    await receiving

    def _take_answer(
        self, stream: int, nonce: int, published: Published, request: discovery.DiscoveryRequest | None
    ) -> bool:
        if request is None or request.acknowledge.nonce != nonce:
            return False
        answer = request.acknowledge
        state = self.acknowledgements.acknowledge(stream, published.versions, answer)
        for refusal in answer.refusals:
            logger.warning(
                "node %s refused %s: %s %s", state.node, refusal.name, refusal.code, refusal.message
            )
        self._on_changed(self.acknowledgements)
        return True

    async def _await_other_than(self, version: str) -> Published | None:
        """Return another snapshot than this, None when there shall be none."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: (
                    self._is_suspended
                    or (self._published is not None and self._published.draft.version != version)
                )
            )
            return None if self._is_suspended else self._published

    async def _serve_answers(
        self, reports: AsyncIterator[discovery.AnswersReport], context: _AnswersStream
    ) -> AsyncIterator[discovery.AnswersTaken]:
        """Take what another replica tells of its nodes, while this one holds the Lease."""
        await self._authenticate(context, Component.OPERATOR)
        source, listener = next(self._streams), Listener()
        try:
            async for report in reports:
                if not self._is_holder():
                    await context.abort(
                        grpc.StatusCode.FAILED_PRECONDITION, "this replica does not hold the Lease"
                    )
                self.acknowledgements.hear(source, listener.take(report))
                yield discovery.AnswersTaken()
        except TellingError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        finally:
            self.acknowledgements.unhear(source)

    async def _authenticate(
        self, context: _Stream | _AnswersStream, component: Component
    ) -> NodeIdentity | None:
        if self._reviewer is None:
            return None
        token = read_token(tuple(context.invocation_metadata() or ()))
        try:
            if not token:
                raise UnauthenticatedError("no bearer token")
            identity = await self._reviewer(token)
            if identity.component is not component:
                raise UnauthenticatedError(f"Pod {identity.pod} is not of the {component.value}")
            return identity
        except UnauthenticatedError as error:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
        except Exception as error:
            logger.exception("token review failed")
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"token review failed: {type(error).__name__}")
        raise AssertionError("abort raises")

    async def _receive_subscribe(
        self, requests: AsyncIterator[discovery.DiscoveryRequest], context: _Stream
    ) -> discovery.Subscribe:
        first = await anext(requests, None)
        if first is None or first.WhichOneof("request") != "subscribe" or not first.subscribe.node:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a stream begins with Subscribe")
            raise AssertionError("abort raises")
        if first.subscribe.abi != ABI_VERSION:
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"programs have ABI {ABI_VERSION}, the node runs {first.subscribe.abi}",
            )
        return first.subscribe


def is_loopback(address: str) -> bool:
    """Whether an address to bind reaches this machine alone."""
    host = address.rpartition(":")[0].strip("[]")
    return address.startswith("unix:") or host in {"127.0.0.1", "::1", "localhost"}


def read_token(metadata: tuple[tuple[str, str | bytes], ...]) -> str:
    """Return the bearer token of a call's metadata, "" when there is none."""
    for key, value in metadata:
        if key == "authorization" and isinstance(value, str):
            scheme, _, token = value.partition(" ")
            if scheme.lower() == "bearer":
                return token.strip()
    return ""


def _make_configuration(leaf: IssuedCertificate) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(leaf.key_pem, leaf.chain_pem)])
