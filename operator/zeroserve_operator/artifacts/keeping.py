"""Keeping pulled artefacts over a restart: as Secrets of the operator's own namespace, for all replicas.

In: what registries answered, by ZeroservePlugin. Out: a plugin's file again without its registry. Rules: what
is kept is believed no more than a registry is, so digests and signatures are checked again, with the keys of
today; the leader alone writes; there are so many Secrets as the operator's Role names, and no more.
"""

from __future__ import annotations

import base64
import binascii
import logging
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from zeroserve_ir.plugins.modules import OBJECT_BYTES_MAX

from zeroserve_operator.artifacts.answers import Answers, Kept
from zeroserve_operator.artifacts.faults import ArtifactError
from zeroserve_operator.artifacts.pulling import PullRequest, check_plugin
from zeroserve_operator.artifacts.references import Reference, read_reference
from zeroserve_operator.artifacts.registries import RegistryPolicy
from zeroserve_operator.cluster_client import ClusterError, Requests
from zeroserve_operator.resources.objects import Kind, ObjectKey

logger = logging.getLogger(__name__)

KEPT_MAX: Final = 32
"""Secrets that the chart's Role names."""
KEPT_OF_NAMESPACE_MAX: Final = 8
"""No namespace takes all of them."""
SECRET_BYTES_MAX: Final = 1_000_000
"""Of its values, packed: the API server takes a mebibyte."""
SECRET_TYPE: Final = "zeroserve.dev/artifact"
PLUGIN_ANNOTATION: Final = "zeroserve.dev/plugin"
REFERENCE_ANNOTATION: Final = "zeroserve.dev/reference"


class Client(Requests, Protocol):
    """What is needed of `ClusterClient`."""

    def list_items(self, path: str, *, field_selector: str = "") -> Iterator[dict[str, Any]]:
        """Yield the items of a collection."""
        ...


@dataclass(frozen=True, slots=True)
class Artifact:
    """What is kept for a plugin."""

    reference: Reference
    answers: Answers


class ArtifactKeeper:
    """Remembers what was pulled; `load` and `write` are for the cluster's memory, from threads."""

    def __init__(self, client: Client, namespace: str, name: str) -> None:
        """Secrets are NAME-0 and so on."""
        self._client = client
        self._collection = f"/api/v1/namespaces/{namespace}/secrets"
        self._names = tuple(f"{name}-{number}" for number in range(KEPT_MAX))
        self._artifacts: dict[ObjectKey, Artifact] = {}
        self._stored: dict[str, tuple[ObjectKey, Reference]] = {}
        """What the Secrets hold, by name."""
        self._left_out: frozenset[ObjectKey] = frozenset()
        self._written: object = None
        """What there was when the Secrets were right."""

    def load(self) -> None:
        """Read what is kept; what does not make sense is not there. Raises ClusterError."""
        items = list(self._client.list_items(self._collection, field_selector=f"type={SECRET_TYPE}"))
        self._stored.clear()
        self._written = None
        for item in items:
            name = (item.get("metadata") or {}).get("name")
            found = _read_secret(item)
            if name not in self._names or found is None:
                logger.warning("Secret %s holds no artefact", name)
                continue
            key, artifact = found
            self._stored[name] = (key, artifact.reference)
            self._artifacts.setdefault(key, artifact)

    def note(self, key: ObjectKey, reference: Reference, answers: Answers) -> None:
        """Take what was pulled for a plugin."""
        self._artifacts[key] = Artifact(reference, answers)

    def recall(
        self, key: ObjectKey, request: PullRequest, policy: RegistryPolicy
    ) -> tuple[bytes, str] | None:
        """Return the file kept for a plugin, of this place and signed by today's keys, and its digest."""
        kept = self._artifacts.get(key)
        wanted = request.reference
        if kept is None or replace(kept.reference, digest="") != replace(wanted, digest="", tag=""):
            return None
        former = replace(request, reference=kept.reference)
        try:
            return check_plugin(Kept(kept.reference, kept.answers), former, policy), kept.reference.digest
        except ArtifactError as error:
            logger.warning("%s: what was kept of it does not count: %s", key, error.message)
            return None

    def write(self, wanted: Iterable[ObjectKey]) -> None:
        """Make the Secrets hold what was pulled for the plugins there are; raises ClusterError."""
        plugins = set(wanted)
        for gone in dict(self._artifacts).keys() - plugins:
            del self._artifacts[gone]
        # What is pulled meanwhile is for the next time.
        artifacts = dict(self._artifacts)
        present = plugins, {key: artifact.reference for key, artifact in artifacts.items()}
        if present == self._written:
            return
        for name, (key, _) in tuple(self._stored.items()):
            if key not in plugins:
                self._send("DELETE", name)
                del self._stored[name]
        packed = {key: _pack(artifact) for key, artifact in artifacts.items()}
        chosen = self._choose(packed)
        held = {key: name for name, (key, _) in self._stored.items()}
        free = iter([name for name in self._names if name not in self._stored])
        for key in chosen:
            reference = artifacts[key].reference
            name = held.get(key) or next(free)
            if self._stored.get(name) != (key, reference):
                self._put(name, key, reference, packed[key])
        self._written = present

    def _choose(self, packed: Mapping[ObjectKey, Answers]) -> list[ObjectKey]:
        """Return the plugins that are kept: those that are, then others while there is room."""
        held = {key for key, _ in self._stored.values()}
        fitting = [
            key for key, answers in packed.items() if sum(map(len, answers.values())) <= SECRET_BYTES_MAX
        ]
        chosen: list[ObjectKey] = []
        spaces: dict[str, int] = {}
        for key in sorted(fitting, key=lambda each: (each not in held, each.namespace, each.name)):
            space = key.namespace
            if len(chosen) < KEPT_MAX and spaces.get(space, 0) < KEPT_OF_NAMESPACE_MAX:
                spaces[space] = spaces.get(space, 0) + 1
                chosen.append(key)
        left_out = frozenset(packed.keys() - set(chosen))
        for key in sorted(left_out - self._left_out, key=str):
            logger.warning("%s is not kept for restarts: it is too large, or there are too many", key)
        self._left_out = left_out
        return chosen

    def _put(self, name: str, key: ObjectKey, reference: Reference, packed: Answers) -> None:
        body = _make_secret(name, key, reference, packed)
        if name in self._stored:
            self._send("PUT", name, body)
        else:
            try:
                self._client.request("POST", self._collection, body)
            except ClusterError as error:
                if error.status != 409:
                    raise
                self._send("PUT", name, body)
        self._stored[name] = (key, reference)

    def _send(self, method: str, name: str, body: Any = None) -> None:
        try:
            self._client.request(method, f"{self._collection}/{name}", body)
        except ClusterError as error:
            if method != "DELETE" or error.status != 404:
                raise


def _pack(artifact: Artifact) -> Answers:
    """Return what a Secret holds of an artefact; compressing takes long for a full one."""
    return {path: zlib.compress(content) for path, content in artifact.answers.items()}


def _make_secret(name: str, key: ObjectKey, reference: Reference, packed: Answers) -> dict[str, Any]:
    notes = {PLUGIN_ANNOTATION: f"{key.namespace}/{key.name}", REFERENCE_ANNOTATION: str(reference)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "annotations": notes},
        "type": SECRET_TYPE,
        "data": {path: base64.b64encode(content).decode() for path, content in packed.items()},
    }


def _read_secret(raw: Mapping[str, Any]) -> tuple[ObjectKey, Artifact] | None:
    try:
        notes = raw["metadata"]["annotations"]
        namespace, _, name = notes[PLUGIN_ANNOTATION].partition("/")
        reference = read_reference(notes[REFERENCE_ANNOTATION])
        answers = {path: _unpack(text) for path, text in raw["data"].items()}
    except (KeyError, TypeError, AttributeError, ValueError, binascii.Error, zlib.error):
        return None
    return ObjectKey(Kind.ZEROSERVE_PLUGIN, namespace, name), Artifact(reference, answers)


def _unpack(text: str) -> bytes:
    unpacking = zlib.decompressobj()
    content = unpacking.decompress(base64.b64decode(text, validate=True), OBJECT_BYTES_MAX + 1)
    if len(content) > OBJECT_BYTES_MAX or not unpacking.eof:
        raise ValueError("larger than any answer that is kept")
    return content
