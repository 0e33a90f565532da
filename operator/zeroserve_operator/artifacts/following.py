"""Following artefacts: what ZeroservePlugins want of registries is pulled, and again where that failed.

In: what is wanted now, Secrets. Out: `PluginFile`s for the store. Called by `running`. Rules: one pull for
each change of what is wanted, its key or its account; a pull that failed is tried again, ever less often; a
former file of the same place and key stays while its successor cannot be had; what was kept over a restart
counts as pulled; no plugin waits for the pulls of others, but for one of each other namespace.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from zeroserve_ir.codes import Code

from zeroserve_operator.artifacts.answers import Answers
from zeroserve_operator.artifacts.faults import ArtifactError, bad_signature, cannot_pull
from zeroserve_operator.artifacts.pulling import Pulled, PullRequest, pull_plugin, read_credentials
from zeroserve_operator.artifacts.references import Reference
from zeroserve_operator.artifacts.registries import RegistryPolicy
from zeroserve_operator.artifacts.signatures import read_public_key
from zeroserve_operator.resources.objects import Kind, ObjectKey
from zeroserve_operator.resources.plugins import ArtifactSource, PluginFile
from zeroserve_operator.resources.secrets import Secret
from zeroserve_operator.waiting import wait_at_most

logger = logging.getLogger(__name__)

PULLS_MAX: Final = 4
"""At once: each is a thread, and a connection to somebody else's registry."""
RETRY_S: Final = 2.0
RETRY_S_MAX: Final = 300.0
DOCKER_CONFIG: Final = ".dockerconfigjson"

FindSecret = Callable[[ObjectKey], Secret | None]
Take = Callable[[ObjectKey, PluginFile | None], None]
"""Takes what became of a pull, by the key of its ZeroservePlugin; None: nothing is wanted any more."""
Pull = Callable[[PullRequest, RegistryPolicy], Pulled]


class Keeper(Protocol):
    """What outlives the process: `ArtifactKeeper`."""

    def note(self, key: ObjectKey, reference: Reference, answers: Answers) -> None:
        """Take what was pulled for a plugin."""
        ...

    def recall(
        self, key: ObjectKey, request: PullRequest, policy: RegistryPolicy
    ) -> tuple[bytes, str] | None:
        """Return the file kept for a plugin and its digest, which may be a former one's."""
        ...


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a pull is made from: the digests are those of Secrets, "" where they are not there."""

    source: ArtifactSource
    key_digest: str
    account_digest: str


@dataclass(slots=True)
class _Known:
    """The last pull for a plugin."""

    inputs: _Inputs
    file: PluginFile
    delay_s: float = RETRY_S
    due_s: float = field(default=float("inf"))


class ArtifactFollower:
    """Pulls and tells."""

    def __init__(
        self,
        policy: RegistryPolicy,
        wanted: Callable[[], Mapping[ObjectKey, ArtifactSource]],
        find_secret: FindSecret,
        take: Take,
        *,
        pull: Pull = pull_plugin,
        keeper: Keeper | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._wanted = wanted
        self._find_secret = find_secret
        self._take = take
        self._pull = pull
        self._keeper = keeper
        self._clock = clock
        self._known: dict[ObjectKey, _Known] = {}
        self._changed = asyncio.Event()
        self._slots = asyncio.Semaphore(PULLS_MAX)
        self._turns: dict[str, asyncio.Lock] = {}
        """By namespace: one pull of each at a time, so that who has a thousand holds up nobody else."""
        self._pulling: dict[ObjectKey, asyncio.Task[None]] = {}

    def want(self) -> None:
        """Hear that plugins or Secrets may have changed."""
        self._changed.set()

    async def run(self) -> None:
        """Pull when something changed and when a failed pull is due, until cancelled."""
        try:
            while True:
                waiting = (known.due_s for key, known in self._known.items() if key not in self._pulling)
                due_s = min(waiting, default=float("inf"))
                wait_s = max(0.0, due_s - self._clock())
                await wait_at_most(self._changed, None if wait_s == float("inf") else wait_s)
                self._changed.clear()
                self._begin()
        finally:
            for task in self._pulling.values():
                task.cancel()

    async def follow(self) -> None:
        """Pull once what is wanted and not here, and forget what is wanted no more."""
        self._begin()
        if self._pulling:
            await asyncio.wait(self._pulling.values())

    def _begin(self) -> None:
        """Begin the pulls that are due; what is being pulled is looked at again at its end."""
        wanted = self._wanted()
        for key in self._known.keys() - wanted.keys():
            del self._known[key]
            self._take(key, None)
        spaces = {key.namespace for key in wanted}
        self._turns = {space: self._turns.get(space) or asyncio.Lock() for space in spaces}
        for key, source in wanted.items():
            inputs = _Inputs(
                source,
                self._digest_of(key.namespace, source.key_secret[0]),
                self._digest_of(key.namespace, source.pull_secret),
            )
            known = self._known.get(key)
            is_current = known is not None and known.inputs == inputs and known.due_s > self._clock()
            if key not in self._pulling and not is_current:
                self._pulling[key] = asyncio.create_task(self._refresh(key, inputs))

    async def _refresh(self, key: ObjectKey, inputs: _Inputs) -> None:
        try:
            async with self._turns[key.namespace]:
                await self._pull_one(key, inputs)
        finally:
            del self._pulling[key]
            self._changed.set()

    async def _pull_one(self, key: ObjectKey, inputs: _Inputs) -> None:
        source, known = inputs.source, self._known.get(key)
        fault = None
        content, digest = _keep(known, inputs)
        try:
            request = self._prepare(key, source)
            if not content:
                content, digest = await self._recall(key, request)
            if digest != source.reference.digest:
                async with self._slots:
                    pulled = await asyncio.to_thread(self._pull, request, self._policy)
                content, digest = pulled.content, source.reference.digest
                if self._keeper is not None:
                    self._keeper.note(key, source.reference, pulled.answers)
        except ArtifactError as error:
            fault = error.diagnose(key.origin.at("spec.source.oci.reference"))
            logger.warning("%s: %s", key, error.message)
        except Exception:
            logger.exception("defect while pulling for %s", key)
            fault = cannot_pull("the pull failed").diagnose(key.origin.at("spec.source.oci.reference"))
        file = PluginFile.make(key, source, content, digest, fault)
        entry = _Known(inputs, file)
        if fault is not None:
            again = known is not None and known.inputs == inputs
            entry.delay_s = min(known.delay_s * 2, RETRY_S_MAX) if known and again else RETRY_S
            entry.due_s = self._clock() + entry.delay_s
        self._known[key] = entry
        self._take(key, file)

    async def _recall(self, key: ObjectKey, request: PullRequest) -> tuple[bytes, str]:
        found = None
        if self._keeper is not None:
            found = await asyncio.to_thread(self._keeper.recall, key, request, self._policy)
        return found or (b"", "")

    def _digest_of(self, namespace: str, name: str) -> str:
        secret = self._find_secret(ObjectKey(Kind.SECRET, namespace, name)) if name else None
        return secret.meta.digest if secret else ""

    def _prepare(self, key: ObjectKey, source: ArtifactSource) -> PullRequest:
        pem, credentials = source.public_key.encode(), None
        if source.key_secret[0]:
            pem = self._read_secret(key, *source.key_secret)
        if source.pull_secret:
            config = self._read_secret(key, source.pull_secret, DOCKER_CONFIG)
            credentials = read_credentials(config, source.reference.host)
        try:
            public_key = read_public_key(pem) if pem else None
        except ValueError as error:
            raise bad_signature(f"{source.key_secret[1]} of Secret {source.key_secret[0]} {error}") from error
        return PullRequest(source.reference, public_key, credentials)

    def _read_secret(self, key: ObjectKey, name: str, entry: str) -> bytes:
        secret = self._find_secret(ObjectKey(Kind.SECRET, key.namespace, name))
        value = secret.get(entry) if secret else None
        if value is None:
            what = f"key {entry!r} of Secret" if secret else "Secret"
            raise ArtifactError(Code.ZS0501, f"{what} {name} is not there")
        return value


def _keep(known: _Known | None, inputs: _Inputs) -> tuple[bytes, str]:
    """Return the former file, where only the version differs: one that another key signed must not stay."""
    if known is None or known.inputs.key_digest != inputs.key_digest:
        return b"", ""
    if not inputs.source.is_successor_of(known.file.source):
        return b"", ""
    return known.file.content, known.file.digest
