"""Ingress and IngressClass (networking.k8s.io/v1).

In: raw objects. Out: `Ingress`, `IngressClass`. Hosts and paths are kept as written: whether they can be
served is decided in building, where the host's other objects are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from zeroserve_ir.diagnostics import Diagnostic

from zeroserve_operator.resources.objects import Kind, Meta, ObjectKey, Parsed, read_meta
from zeroserve_operator.resources.reading import Reader, describe, digest_raw

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
DEFAULT_CLASS_ANNOTATION = "ingressclass.kubernetes.io/is-default-class"


class PathType(Enum):
    """`spec.rules[].http.paths[].pathType`."""

    EXACT = "Exact"
    PREFIX = "Prefix"
    IMPLEMENTATION_SPECIFIC = "ImplementationSpecific"


@dataclass(frozen=True, slots=True)
class BackendReference:
    """`backend.service`: a Service of the object's namespace, and the number or name of its port."""

    service: str
    port: str


@dataclass(frozen=True, slots=True)
class IngressPath:
    """One path; `backend` is None where it is malformed, which the path answers with 503.

    With a `problem`, it is not known how it compares.
    """

    path: str
    path_type: PathType
    backend: BackendReference | None
    field: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class IngressRule:
    """One rule: its host as written ("" for all) and its paths."""

    host: str
    paths: tuple[IngressPath, ...]
    field: str


@dataclass(frozen=True, slots=True)
class IngressTls:
    """One entry of `spec.tls`; without hosts it is for all of the object's."""

    hosts: tuple[str, ...]
    secret: str
    field: str


@dataclass(frozen=True, slots=True)
class Ingress:
    """An Ingress, as far as it is read."""

    meta: Meta
    class_name: str | None
    rules: tuple[IngressRule, ...]
    tls: tuple[IngressTls, ...]
    default_backend: BackendReference | None
    addresses: tuple[str, ...] = field(default=(), compare=False)
    """`status.loadBalancer.ingress` as it is now: IPs and host names."""


@dataclass(frozen=True, slots=True)
class IngressClass:
    """An IngressClass: who serves it, and whether it is for Ingresses that name none."""

    meta: Meta
    controller: str
    is_default: bool


def parse_ingress(key: ObjectKey, raw: Mapping[str, Any]) -> Parsed[Ingress]:
    """Parse an Ingress."""
    findings: list[Diagnostic] = []
    reader = Reader(raw, key.origin, findings)
    metadata = reader.child("metadata")
    spec = reader.child("spec")
    if not spec.present:
        reader.complain("spec", "is required")
    digest = digest_raw(
        metadata.raw.get("annotations"), metadata.raw.get("creationTimestamp"), raw.get("spec")
    )
    default = spec.child("defaultBackend")
    if isinstance(raw.get("spec"), Mapping) and not default.present and not spec.raw.get("rules"):
        spec.complain("rules", "is required where there is no defaultBackend: nothing is served")
    ingress = Ingress(
        meta=read_meta(Kind.INGRESS, reader, digest),
        class_name=spec.text("ingressClassName") or None,
        rules=tuple(parsed for rule in spec.items("rules") if (parsed := _parse_rule(rule)) is not None),
        tls=tuple(
            IngressTls(entry.texts("hosts"), entry.text("secretName"), entry.origin.field)
            for entry in spec.items("tls")
        ),
        default_backend=_parse_backend(default) if default.present else None,
        addresses=_parse_addresses(raw),
    )
    return Parsed(ingress, tuple(findings))


def parse_ingress_class(key: ObjectKey, raw: Mapping[str, Any]) -> Parsed[IngressClass]:
    """Parse an IngressClass."""
    findings: list[Diagnostic] = []
    reader = Reader(raw, key.origin, findings)
    digest = digest_raw(reader.child("metadata").raw.get("annotations"), raw.get("spec"))
    meta = read_meta(Kind.INGRESS_CLASS, reader, digest)
    is_default = dict(meta.annotations).get(DEFAULT_CLASS_ANNOTATION) == "true"
    view = IngressClass(meta, reader.child("spec").required("controller"), is_default)
    return Parsed(view, tuple(findings))


def _parse_rule(rule: Reader) -> IngressRule | None:
    """Parse one rule; None for a host that is no text, as one without a host is for all of them."""
    if not isinstance(rule.raw.get("host") or "", str):
        rule.text("host")
        return None
    paths = [
        parsed for path in rule.child("http").items("paths") if (parsed := _parse_path(path)) is not None
    ]
    return IngressRule(rule.text("host"), tuple(paths), rule.origin.field)


def _parse_path(path: Reader) -> IngressPath | None:
    raw_type = path.text("pathType")
    known = {kind.value: kind for kind in PathType}
    if raw_type not in known:
        names = ", ".join(known)
        path.complain("pathType", f"must be one of {names}, not {describe(path.raw.get('pathType'))}")
    problem = ""
    if raw_type not in known and path.raw.get("pathType") is not None:
        problem = "pathType is unknown"
    before = len(path.findings)
    text = path.text("path")
    if len(path.findings) > before:
        return None
    # ingress-nginx and the API before v1 treated a path without a type so; the finding above says it.
    path_type = known.get(raw_type, PathType.IMPLEMENTATION_SPECIFIC)
    backend = _parse_backend(path.child("backend"))
    return IngressPath(text, path_type, backend, path.origin.field, problem)


def _parse_backend(backend: Reader) -> BackendReference | None:
    if not backend.present:
        backend.complain("", "is required")
        return None
    if backend.raw.get("resource") is not None:
        backend.complain("resource", "is not served; only Services are")
        return None
    if "serviceName" in backend.raw:
        backend.complain(
            "serviceName", "is of an API version before v1", "write `service: {name: …, port: {number: …}}`"
        )
        return None
    service = backend.child("service")
    if not service.present:
        backend.complain("service", "is required")
        return None
    name = service.required("name")
    port = _parse_port(service.child("port"))
    return BackendReference(name, port) if name and port else None


def _parse_port(port: Reader) -> str:
    number, name = port.number("number", 1, 65535), port.text("name")
    if number is not None and name:
        port.complain("", "must have a number or a name, not both")
        return ""
    if number is None and not name and port.raw.get("number") is None and port.raw.get("name") in (None, ""):
        port.complain("", "must have a number or a name")
    return str(number) if number is not None else name


def _parse_addresses(raw: Mapping[str, Any]) -> tuple[str, ...]:
    ignored: list[Diagnostic] = []
    status = Reader(raw, ObjectKey(Kind.INGRESS, "", "").origin, ignored).child("status")
    entries = status.child("loadBalancer").items("ingress")
    return tuple(entry.text("ip") or entry.text("hostname") for entry in entries)
