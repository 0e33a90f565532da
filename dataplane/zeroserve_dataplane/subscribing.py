"""The agent's stream to the operator: snapshots in, acknowledgements out.

In: where the operator is, what the node holds. Out: complete drafts, handed to `apply` one at a time, and
its refusals as the answer. Who calls: `agent.running`. Rules: an answer goes out only after `apply` returned,
that is once the engine serves the change; a change that was cut off is dropped whole; credentials are read
anew for each connection, so that rotated roots and tokens are used.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import grpc
from zeroserve_ir._pb import discovery_pb2 as discovery
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import ResourceKey, SnapshotDigest, SnapshotDraft, Step, digest_payload
from zeroserve_ir.program.abi import ABI_VERSION

logger = logging.getLogger(__name__)

SERVER_NAME = "zeroserve-operator"
"""The name in the operator's certificate, whatever address is dialled."""
RETRY_MS_FIRST = 250
RETRY_MS_MAX = 15_000
MESSAGE_BYTES_MAX = 16 << 20
"""Parts stay under 1 MiB; a single resource above that travels alone."""
CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.ssl_target_name_override", SERVER_NAME),
)


class ProtocolError(Exception):
    """The operator sent what the protocol does not allow; the stream is ended and opened again."""


@dataclass(frozen=True, slots=True)
class SubscribingSettings:
    """Where the operator is and who we are; without `ca_file` the stream is plain text."""

    operator: str
    """gRPC target, such as `dns:///zeroserve-operator.zeroserve-system.svc:9443`."""
    node: str
    agent_version: str
    target: str
    ca_file: Path | None = None
    token_file: Path | None = None


Apply = Callable[[SnapshotDraft], Awaitable[Sequence[discovery.Refusal]]]


@dataclass(slots=True)
class StreamState:
    """What the stream is doing, for metrics and readiness."""

    connected: bool = False
    """A response came on the stream that is open now."""
    reconnects: int = 0
    last_error: str = ""
    changes: int = 0
    refusals: int = 0


class Subscriber:
    """Keeps one stream open."""

    def __init__(
        self, settings: SubscribingSettings, held: Callable[[], SnapshotDraft], apply: Apply
    ) -> None:
        """`held` is asked at each connection for what the node serves well."""
        self.state = StreamState()
        self._settings = settings
        self._held = held
        self._apply = apply
        self._random = random.Random()

    async def run(self) -> None:
        """Stay subscribed until cancelled."""
        delay_ms = RETRY_MS_FIRST
        while True:
            changes = self.state.changes
            try:
                await self._follow_stream()
                self.state.last_error = "the operator ended the stream"
            except grpc.aio.AioRpcError as error:
                self.state.last_error = f"{error.code().name}: {error.details()}"
            except (ProtocolError, OSError) as error:
                self.state.last_error = str(error)
            finally:
                self.state.connected = False
            delay_ms = RETRY_MS_FIRST if self.state.changes > changes else min(delay_ms * 2, RETRY_MS_MAX)
            logger.warning("stream to %s: %s", self._settings.operator, self.state.last_error)
            # Full jitter: agents of a cluster that lost their operator together do not return together.
            await asyncio.sleep(self._random.uniform(0.1, 1.0) * delay_ms / 1000)
            self.state.reconnects += 1

    async def _follow_stream(self) -> None:
        async with self._open_channel() as channel:
            open_stream = channel.stream_stream(
                "/zeroserve.v1.Discovery/Stream",
                request_serializer=discovery.DiscoveryRequest.SerializeToString,
                response_deserializer=discovery.DiscoveryResponse.FromString,
            )
            call = open_stream(None, metadata=self._make_metadata())
            # An operator that is away costs nothing: what is held may be much.
            await call.wait_for_connection()
            merger = Merger(self._held())
            await call.write(discovery.DiscoveryRequest(subscribe=self._make_subscribe(merger.draft)))
            async for change in _collect_changes(call):
                self.state.connected = True
                draft = merger.merge(change)
                refusals = await self._apply(draft)
                answer = discovery.Acknowledge(nonce=change.nonce, snapshot=draft.version, refusals=refusals)
                await call.write(discovery.DiscoveryRequest(acknowledge=answer))
                self.state.changes += 1
                self.state.refusals += len(refusals)

    def _open_channel(self) -> grpc.aio.Channel:
        settings = self._settings
        if settings.ca_file is None:
            return grpc.aio.insecure_channel(settings.operator, options=CHANNEL_OPTIONS)
        credentials = grpc.ssl_channel_credentials(settings.ca_file.read_bytes())
        return grpc.aio.secure_channel(settings.operator, credentials, options=CHANNEL_OPTIONS)

    def _make_metadata(self) -> grpc.aio.Metadata:
        if self._settings.token_file is None:
            return grpc.aio.Metadata()
        token = self._settings.token_file.read_text().strip()
        return grpc.aio.Metadata(("authorization", f"Bearer {token}"))

    def _make_subscribe(self, draft: SnapshotDraft) -> discovery.Subscribe:
        held = (
            discovery.ResourceVersion(
                type=pb.ResourceType.ValueType(kind), name=name, version=resource.version
            )
            for (kind, name), resource in draft.resources.items()
        )
        return discovery.Subscribe(
            node=self._settings.node,
            agent_version=self._settings.agent_version,
            abi=ABI_VERSION,
            target=self._settings.target,
            held=held,
        )


@dataclass(frozen=True, slots=True)
class Change:
    """A complete change of the snapshot."""

    nonce: int
    snapshot: str
    resources: Mapping[ResourceKey, pb.Resource]
    removed: frozenset[ResourceKey]


async def _collect_changes(parts: AsyncIterable[discovery.DiscoveryResponse]) -> AsyncIterator[Change]:
    resources: dict[ResourceKey, pb.Resource] = {}
    removed: set[ResourceKey] = set()
    nonce = 0
    async for part in parts:
        if nonce and part.nonce != nonce:
            raise ProtocolError(f"change {nonce} was not finished before {part.nonce}")
        nonce = part.nonce
        resources |= {(int(resource.type), resource.name): resource for resource in part.resources}
        removed |= {(int(entry.type), entry.name) for entry in part.removed}
        if part.last:
            yield Change(nonce, part.snapshot, resources, frozenset(removed))
            resources, removed, nonce = {}, set(), 0


class Merger:
    """The snapshot of one stream, change by change."""

    def __init__(self, draft: SnapshotDraft) -> None:
        self.draft = draft
        # A proxy's dict is copied twenty times as fast as the proxy.
        self._resources = dict(draft.resources)
        self._digest = SnapshotDigest({key: one.version for key, one in draft.resources.items()})

    def merge(self, change: Change) -> SnapshotDraft:
        """Return the snapshot that a change leads to. ProtocolError, after which it is of no use."""
        merged = self._resources.copy()
        for key in change.removed:
            merged.pop(key, None)
            self._digest.remove(key)
        for key, resource in change.resources.items():
            if digest_payload(resource.payload) != resource.version:
                raise ProtocolError(f"resource {resource.name} is not of its version")
            merged[key] = resource
            self._digest.put(key, resource.version)
        version = self._digest.digest()
        if version != change.snapshot:
            raise ProtocolError(f"the change leads to {version[:12]}, not to {change.snapshot[:12]}")
        step = Step(self.draft.version, change.removed | change.resources.keys())
        self._resources, self.draft = merged, SnapshotDraft(MappingProxyType(merged), version, step)
        return self.draft
