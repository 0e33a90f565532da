"""ZeroserveCachePurge (zeroserve.dev/v1alpha1): kept answers of its namespace that all nodes forget once.

In: raw objects. Out: `CachePurge`. Rule: one with a target that cannot be read is refused whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zeroserve_ir.diagnostics import Diagnostic

from zeroserve_operator.resources.objects import Kind, Meta, ObjectKey, Parsed, read_meta
from zeroserve_operator.resources.reading import Reader, digest_raw

TARGETS_MAX = 32
TARGET_LENGTH_MAX = 2048
"""Characters: a URL as long as servers take them."""


@dataclass(frozen=True, slots=True)
class CachePurge:
    """A ZeroserveCachePurge."""

    meta: Meta
    targets: tuple[str, ...]
    """URLs, or texts of a `key`; with `*` at the end all that begin so."""


def parse_cache_purge(key: ObjectKey, raw: Mapping[str, Any]) -> Parsed[CachePurge]:
    """Parse a ZeroserveCachePurge."""
    findings: list[Diagnostic] = []
    reader = Reader(raw, key.origin, findings)
    spec = reader.child("spec")
    targets = spec.texts("targets")
    if not 0 < len(targets) <= TARGETS_MAX:
        spec.complain("targets", f"must have 1 to {TARGETS_MAX} entries", 'all of the namespace is "*"')
    for index, target in enumerate(targets):
        if not 0 < len(target) <= TARGET_LENGTH_MAX:
            spec.complain(f"targets[{index}]", f"must have 1 to {TARGET_LENGTH_MAX} characters")
    digest = digest_raw(raw.get("spec"), (raw.get("metadata") or {}).get("uid"))
    view = CachePurge(read_meta(Kind.CACHE_PURGE, reader, digest), targets)
    return Parsed(None if findings else view, tuple(findings))
