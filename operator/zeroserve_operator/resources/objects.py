"""What all views share: kinds, keys, metadata.

In: the `metadata` of raw objects. Out: `Meta`, which every view carries. `digest` covers all fields that
building reads and nothing else, so that equal digests mean that nothing needs to be built again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, NamedTuple, TypeVar

from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.sources import Origin

from zeroserve_operator.resources.reading import Reader, describe

View = TypeVar("View")

LABEL_PATTERN = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
NAME_PATTERN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
NAME_LENGTH_MAX = 253


class Kind(Enum):
    """The kinds that are read."""

    INGRESS = "Ingress"
    INGRESS_CLASS = "IngressClass"
    SERVICE = "Service"
    ENDPOINT_SLICE = "EndpointSlice"
    SECRET = "Secret"
    ZEROSERVE_ROUTE = "ZeroserveRoute"
    ZEROSERVE_PLUGIN = "ZeroservePlugin"
    CACHE_PURGE = "ZeroserveCachePurge"
    CONFIG_MAP = "ConfigMap"
    PLUGIN_FILE = "PluginFile"
    """No kind of the API: what was pulled from a registry for a ZeroservePlugin, under its name."""


GROUP_VERSION_OF_KIND: Mapping[Kind, str] = {
    Kind.INGRESS: "networking.k8s.io/v1",
    Kind.INGRESS_CLASS: "networking.k8s.io/v1",
    Kind.SERVICE: "v1",
    Kind.ENDPOINT_SLICE: "discovery.k8s.io/v1",
    Kind.SECRET: "v1",
    Kind.ZEROSERVE_ROUTE: "zeroserve.dev/v1alpha1",
    Kind.ZEROSERVE_PLUGIN: "zeroserve.dev/v1alpha1",
    Kind.CACHE_PURGE: "zeroserve.dev/v1alpha1",
    Kind.CONFIG_MAP: "v1",
}


class ObjectKey(NamedTuple):
    """Which object: kind, namespace ("" for cluster-wide kinds) and name."""

    kind: Kind
    namespace: str
    name: str

    @property
    def origin(self) -> Origin:
        """The object as diagnostics name it."""
        return Origin(self.kind.value, self.namespace, self.name)

    @property
    def order(self) -> tuple[str, str, str]:
        """Sort key; an Enum has none of its own."""
        return (self.kind.value, self.namespace, self.name)

    def __str__(self) -> str:
        return str(self.origin)


@dataclass(frozen=True, slots=True)
class Meta:
    """Metadata of an object, as far as it is read."""

    key: ObjectKey
    digest: str
    created: str = ""
    """RFC 3339, UTC, as the API server writes it; "" for manifests, which count as equally old."""
    annotations: tuple[tuple[str, str], ...] = ()
    annotations_lost: bool = False
    """`metadata.annotations` is no mapping: what it was to restrict is not known."""
    generation: int = field(default=0, compare=False)
    uid: str = field(default="", compare=False)

    @property
    def age_order(self) -> tuple[str, str, str, str]:
        """Sort key of conflicts: oldest first, then namespace and name (then kind)."""
        return (self.created, self.key.namespace, self.key.name, self.key.kind.value)


@dataclass(frozen=True, slots=True)
class Parsed(Generic[View]):
    """A view, or None where nothing of the object can be used; with what was found on the way."""

    view: View | None
    diagnostics: tuple[Diagnostic, ...] = ()


def read_meta(kind: Kind, reader: Reader, digest: str) -> Meta:
    """Read metadata; the object's name was checked by `identify`."""
    meta = reader.child("metadata")
    generation = meta.number("generation", 0, 1 << 62) or 0
    annotations = meta.raw.get("annotations")
    return Meta(
        key=ObjectKey(kind, reader.origin.namespace, reader.origin.name),
        digest=digest,
        created=meta.text("creationTimestamp") if isinstance(meta.raw.get("creationTimestamp"), str) else "",
        annotations=meta.pairs("annotations"),
        annotations_lost=annotations is not None and not isinstance(annotations, Mapping),
        generation=generation,
        uid=meta.text("uid"),
    )


def identify(
    kind: Kind, raw: Mapping[str, Any], namespace_default: str = "default"
) -> ObjectKey | Diagnostic:
    """Return an object's key, or the diagnostic for a name that Kubernetes would refuse."""
    metadata = raw.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    name, namespace = metadata.get("name"), metadata.get("namespace")
    namespaced = kind is not Kind.INGRESS_CLASS
    space = (namespace or namespace_default) if namespaced else ""
    shown = Origin(
        kind.value, space if isinstance(space, str) else "", name if isinstance(name, str) else "?"
    )
    if not isinstance(name, str) or len(name) > NAME_LENGTH_MAX or not NAME_PATTERN.fullmatch(name):
        return _refuse(shown, "metadata.name", name, "a lower-case name of letters, digits, `-` and `.`")
    if namespaced and (not isinstance(space, str) or not LABEL_PATTERN.fullmatch(space)):
        return _refuse(shown, "metadata.namespace", namespace, "a lower-case name of letters, digits and `-`")
    return ObjectKey(kind, space, name)


def _refuse(origin: Origin, path: str, value: object, wanted: str) -> Diagnostic:
    found = describe(value)
    templated = isinstance(value, str) and "{{" in value
    return Diagnostic(
        Code.ZS0301,
        f"{path} must be {wanted}, not {found}",
        origin=origin.at(path),
        help="this is a template: render it first, with `helm template`" if templated else "",
    )
