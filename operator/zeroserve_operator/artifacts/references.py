"""Where an artefact is: `HOST[:PORT]/REPOSITORY[:TAG]@sha256:DIGEST`, and which registries may be asked.

In: text of objects and of settings. Out: `Reference`, `AllowedRegistry`, or ValueError with the reason. Rule:
only a digest says what is pulled; a tag beside it is for people; no registry is meant unless it is named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

REFERENCE_LENGTH_MAX: Final = 512
_HOST: Final = r"(?P<host>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?)"
_REPOSITORY: Final = r"(?P<repository>[a-z0-9]+(?:(?:\.|_|__|-+|/)[a-z0-9]+)*)"
_TAG: Final = r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
_DIGEST: Final = r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
_PATTERN: Final = re.compile(f"{_HOST}/{_REPOSITORY}{_TAG}{_DIGEST}")
_ALLOWED: Final = re.compile(rf"(?:(?P<scheme>https?)://)?{_HOST}(?:/{_REPOSITORY})?/?")


@dataclass(frozen=True, slots=True)
class Reference:
    """An artefact's place; `digest` is that of its manifest, "sha256:" and 64 hex digits, or "" by tag."""

    host: str
    repository: str
    digest: str = ""
    tag: str = ""

    def __str__(self) -> str:
        named = f"{self.host}/{self.repository}"
        return f"{named}@{self.digest}" if self.digest else f"{named}:{self.tag or 'latest'}"

    @property
    def signature_tag(self) -> str:
        """The tag that cosign keeps signatures of this digest under."""
        return f"{self.digest.replace(':', '-')}.sig"


@dataclass(frozen=True, slots=True)
class AllowedRegistry:
    """A registry, or the part of it below a repository, that artefacts may come from."""

    host: str
    prefix: str = ""
    scheme: str = "https"

    def covers(self, reference: Reference) -> bool:
        """Whether an artefact may come from there."""
        below = reference.repository == self.prefix or reference.repository.startswith(f"{self.prefix}/")
        return reference.host == self.host and (not self.prefix or below)


def read_reference(text: str) -> Reference:
    """Read a reference by tag or digest; raises ValueError."""
    match = _PATTERN.fullmatch(text) if len(text) <= REFERENCE_LENGTH_MAX else None
    if match is None or not _names_host(match["host"]):
        raise ValueError("must be HOST/REPOSITORY@sha256:DIGEST, with the registry's host")
    return Reference(match["host"], match["repository"], match["digest"] or "", match["tag"] or "")


def read_allowed(text: str) -> AllowedRegistry:
    """Read `[https://|http://]HOST[:PORT][/REPOSITORY]`; raises ValueError."""
    match = _ALLOWED.fullmatch(text)
    if match is None or not _names_host(match["host"]):
        raise ValueError(f"{text!r} must be HOST[:PORT] or HOST[:PORT]/REPOSITORY of a registry")
    return AllowedRegistry(match["host"], match["repository"] or "", match["scheme"] or "https")


def _names_host(host: str) -> bool:
    """Docker's rule: what has neither dot nor port is the first part of a repository, but for localhost."""
    return "." in host or ":" in host or host == "localhost"
