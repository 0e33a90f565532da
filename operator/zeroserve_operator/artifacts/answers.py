"""Where answers about an artefact come from: its registry, or what was kept of it; and noting them.

In: names of manifests, digests of blobs. Out: bytes whose digests are right, or ArtifactError. Called by
`pulling`, which reads the same from either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from zeroserve_operator.artifacts.faults import cannot_pull
from zeroserve_operator.artifacts.references import Reference

Answers = Mapping[str, bytes]
"""By what was asked for, in letters that a Secret's keys may have."""


class Source(Protocol):
    """One artefact's registry, or what stands for it."""

    @property
    def reference(self) -> Reference:
        """The artefact's place."""
        ...

    def read_manifest(self, name: str) -> bytes | None:
        """Return a manifest by tag or digest; None where there is none."""
        ...

    def read_blob(self, digest: str, size_max: int) -> bytes:
        """Return a blob."""
        ...

    def read_referrers(self, digest: str, kind: str) -> bytes | None:
        """Return the index of the artefacts of a kind that refer to a manifest; None where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Noting:
    """Asks another source, and notes what it gave."""

    source: Source
    answers: dict[str, bytes] = field(default_factory=dict)

    @property
    def reference(self) -> Reference:
        """The artefact's place."""
        return self.source.reference

    def read_manifest(self, name: str) -> bytes | None:
        """Return a manifest by tag or digest."""
        return self._note(_name("manifest", name), self.source.read_manifest(name))

    def read_blob(self, digest: str, size_max: int) -> bytes:
        """Return a blob."""
        content = self.source.read_blob(digest, size_max)
        self._note(_name("blob", digest), content)
        return content

    def read_referrers(self, digest: str, kind: str) -> bytes | None:
        """Return an index of referrers."""
        return self._note(_name("referrers", digest), self.source.read_referrers(digest, kind))

    def _note(self, name: str, content: bytes | None) -> bytes | None:
        if content is not None:
            self.answers[name] = content
        return content


@dataclass(frozen=True, slots=True)
class Kept:
    """Answers from what was noted."""

    reference: Reference
    answers: Answers

    def read_manifest(self, name: str) -> bytes | None:
        """Return a manifest by tag or digest."""
        content = self.answers.get(_name("manifest", name))
        if content is not None and name.startswith("sha256:"):
            check_digest(content, name)
        return content

    def read_blob(self, digest: str, size_max: int) -> bytes:
        """Return a blob."""
        content = self.answers.get(_name("blob", digest))
        if content is None or len(content) > size_max:
            raise cannot_pull(f"blob {digest} was not kept")
        check_digest(content, digest)
        return content

    def read_referrers(self, digest: str, kind: str) -> bytes | None:
        """Return an index of referrers."""
        return self.answers.get(_name("referrers", digest))


def digest_of(content: bytes) -> str:
    """Return the digest that registries know content by."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def check_digest(content: bytes, digest: str) -> None:
    """Raise ArtifactError where content is not what a digest says."""
    found = digest_of(content)
    if found != digest:
        raise cannot_pull(f"there is {found} for {digest}")


def _name(what: str, name: str) -> str:
    return f"{what}.{name.replace(':', '_')}"
