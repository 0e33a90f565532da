"""ZeroservePlugin (zeroserve.dev/v1alpha1): a program with what it is granted; and ConfigMaps.

In: raw objects, which the CRD's schema has judged on a cluster but not in a manifest. Out: `ZeroservePlugin`,
`ConfigMap`. The rule: what is granted is read here and nowhere else; an unknown capability is an error.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.plugins.granting import CAPABILITIES, NO_CAPABILITY
from zeroserve_ir.plugins.modules import OBJECT_BYTES_MAX
from zeroserve_ir.program import abi

from zeroserve_operator.artifacts.references import Reference, read_reference
from zeroserve_operator.artifacts.signatures import read_public_key
from zeroserve_operator.resources.objects import Kind, Meta, ObjectKey, Parsed, read_meta
from zeroserve_operator.resources.reading import Reader, digest_raw

FUEL_MAX = 1 << 24
"""About 50 ms of native code: one call must not keep a worker from others for longer."""
VALUES_MAX = 1 << 20
VALUE_BYTES_MAX = 64 << 20
BODY_BYTES_MAX = 1 << 20
FETCH_TIMEOUT_MS_MAX = 60_000
SECRETS_MAX = 32
UPSTREAMS_MAX = 16
CONFIG_MAP_BYTES_MAX = 1 << 20
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252})(:[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class SecretGrant:
    """A key of a Secret of the plugin's namespace, under the name that the plugin reads it by."""

    name: str
    secret: str
    key: str
    field: str


@dataclass(frozen=True, slots=True)
class UpstreamGrant:
    """A Service of the plugin's namespace that it may send requests to, under the name that it says."""

    name: str
    service: str
    port: str
    """Number or name."""
    host: str
    """Host of its requests; "" is the Service's name in the cluster."""
    field: str


@dataclass(frozen=True, slots=True)
class ArtifactSource:
    """A file in a registry (`spec.source.oci`), and whose signature it takes."""

    reference: Reference
    public_key: str = ""
    """PEM; "" where there is none in the object."""
    key_secret: tuple[str, str] = ("", "")
    """Name and key of the Secret that holds the public key."""
    pull_secret: str = ""
    """Name of a Secret of type kubernetes.io/dockerconfigjson."""

    def is_successor_of(self, other: ArtifactSource) -> bool:
        """Whether only the version differs: the former file may serve until this one is here."""
        place = replace(self.reference, digest="", tag="")
        return replace(self, reference=place) == replace(
            other, reference=replace(other.reference, digest="", tag="")
        )


@dataclass(frozen=True, slots=True)
class PluginFile:
    """What a registry gave for a ZeroservePlugin, or why it gave nothing."""

    meta: Meta
    source: ArtifactSource
    """What was asked for last."""
    content: bytes = field(default=b"", repr=False)
    digest: str = ""
    """Of the manifest that `content` belongs to: a former one where the last pull failed."""
    fault: Diagnostic | None = None

    @staticmethod
    def make(
        key: ObjectKey, source: ArtifactSource, content: bytes, digest: str, fault: Diagnostic | None
    ) -> PluginFile:
        """Return the outcome of a pull for the ZeroservePlugin of a key."""
        own = ObjectKey(Kind.PLUGIN_FILE, key.namespace, key.name)
        version = digest_raw(repr(source), digest, repr(fault))
        return PluginFile(Meta(own, version), source, content, digest, fault)


@dataclass(frozen=True, slots=True)
class ZeroservePlugin:
    """A ZeroservePlugin, as far as it is read."""

    meta: Meta
    inline: bytes
    config_map: tuple[str, str]
    """Name and key; ("", "") where the file is elsewhere."""
    artifact: ArtifactSource | None
    functions: tuple[str, ...]
    """Those that routes may call; none: all that the file exports."""
    capabilities: abi.Capability
    secrets: tuple[SecretGrant, ...]
    config_schema: str
    """JSON Schema of the configuration of calls, as JSON text; "" is any."""
    upstreams: tuple[UpstreamGrant, ...]
    shared: bool
    """Routes of other namespaces may call it."""
    fail_open: bool
    fuel: int = 0
    values_max: int = 0
    value_bytes_max: int = 0
    body_bytes_max: int = 0
    fetch_timeout_ms: int = 0


@dataclass(frozen=True, slots=True)
class ConfigMap:
    """A ConfigMap, as far as it is read."""

    meta: Meta
    data: tuple[tuple[str, bytes], ...] = field(repr=False)

    def get(self, key: str) -> bytes | None:
        """Return the bytes of a key."""
        return next((value for name, value in self.data if name == key), None)


def parse_zeroserve_plugin(key: ObjectKey, raw: Mapping[str, Any]) -> Parsed[ZeroservePlugin]:
    """Parse a ZeroservePlugin; one with an error is not served at all: a grant may have been lost."""
    findings: list[Diagnostic] = []
    reader = Reader(raw, key.origin, findings)
    spec = reader.child("spec")
    inline, config_map, artifact = _read_source(spec.child("source"))
    budget = spec.child("budget")
    policy = spec.text("failPolicy", "Closed")
    if policy not in ("Closed", "Open"):
        spec.complain("failPolicy", f"must be Closed or Open, not {policy!r}")
    view = ZeroservePlugin(
        meta=read_meta(Kind.ZEROSERVE_PLUGIN, reader, digest_raw(raw.get("spec"))),
        inline=inline,
        config_map=config_map,
        artifact=artifact,
        functions=spec.texts("functions"),
        capabilities=_read_capabilities(spec),
        secrets=_read_secrets(spec),
        upstreams=_read_upstreams(spec),
        config_schema=_read_schema(spec),
        shared=spec.flag("shared") or False,
        fail_open=policy == "Open",
        fuel=budget.number("fuel", 1, FUEL_MAX) or 0,
        values_max=budget.number("values", 1, VALUES_MAX) or 0,
        value_bytes_max=budget.number("valueBytes", 1, VALUE_BYTES_MAX) or 0,
        body_bytes_max=budget.number("bodyBytes", 1, BODY_BYTES_MAX) or 0,
        fetch_timeout_ms=budget.number("fetchTimeoutMilliseconds", 1, FETCH_TIMEOUT_MS_MAX) or 0,
    )
    return Parsed(None if findings else view, tuple(findings))


def parse_config_map(key: ObjectKey, raw: Mapping[str, Any]) -> Parsed[ConfigMap]:
    """Parse a ConfigMap's `binaryData`; a value that is no base64 is left out with a finding."""
    findings: list[Diagnostic] = []
    reader = Reader(raw, key.origin, findings)
    data = {name: value.encode() for name, value in reader.pairs("data")}
    encoded = reader.child("binaryData")
    for name in sorted(str(name) for name in encoded.raw):
        value = _decode(encoded, name, CONFIG_MAP_BYTES_MAX)
        if value is not None:
            data[name] = value
    digest = digest_raw([(name, value.hex()) for name, value in sorted(data.items())])
    return Parsed(
        ConfigMap(read_meta(Kind.CONFIG_MAP, reader, digest), tuple(sorted(data.items()))), tuple(findings)
    )


def _read_source(source: Reader) -> tuple[bytes, tuple[str, str], ArtifactSource | None]:
    reference = source.child("configMapKeyRef")
    given = [key for key in ("inline", "configMapKeyRef", "oci") if source.raw.get(key) is not None]
    if len(given) != 1:
        source.complain("", "must hold one of inline, configMapKeyRef, oci")
        return b"", ("", ""), None
    if given == ["inline"]:
        return _decode(source, "inline", OBJECT_BYTES_MAX) or b"", ("", ""), None
    if given == ["oci"]:
        return b"", ("", ""), _read_artifact(source.child("oci"))
    return b"", (reference.required("name"), reference.required("key")), None


def _read_artifact(source: Reader) -> ArtifactSource | None:
    text = source.required("reference")
    try:
        reference = read_reference(text)
    except ValueError as error:
        source.complain("reference", str(error), "such as registry.example/team/hello@sha256:…")
        return None
    if not reference.digest:
        # A tag may name another file tomorrow, on one replica of the operator and not on the other.
        cure = "`zeroserve plugin push` prints the reference by digest, `crane digest` finds it"
        source.complain("reference", f"must name a digest, not only the tag {reference.tag!r}", cure)
        return None
    pem, secret = source.text("publicKey"), source.child("publicKeySecretRef")
    if pem:
        try:
            read_public_key(pem.encode())
        except ValueError as error:
            source.complain("publicKey", str(error), "paste cosign.pub")
    key_secret = (secret.required("name"), secret.text("key", "cosign.pub")) if secret.present else ("", "")
    if pem and secret.present:
        source.complain("publicKeySecretRef", "stands beside publicKey", "keep one of them")
    pull = source.child("pullSecretRef")
    return ArtifactSource(reference, pem, key_secret, pull.required("name") if pull.present else "")


def _decode(reader: Reader, name: str, size_max: int) -> bytes | None:
    text = reader.text(name)
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        reader.complain(name, "must be base64", "base64 -w0 < plugin.o")
        return None
    if len(content) > size_max:
        reader.complain(name, f"must have at most {size_max} bytes, not {len(content)}")
        return None
    return content


def _read_capabilities(spec: Reader) -> abi.Capability:
    granted = NO_CAPABILITY
    for index, name in enumerate(spec.texts("capabilities")):
        if name in CAPABILITIES:
            granted |= CAPABILITIES[name]
        else:
            spec.complain(f"capabilities[{index}]", f"must be one of {', '.join(CAPABILITIES)}, not {name!r}")
    return granted


def _read_secrets(spec: Reader) -> tuple[SecretGrant, ...]:
    grants = []
    for item in spec.items("secrets")[:SECRETS_MAX]:
        reference = item.child("secretKeyRef")
        name, secret, key = item.required("name"), reference.required("name"), reference.required("key")
        grants.append(SecretGrant(name, secret, key, reference.origin.field))
    return tuple(grants)


def _read_upstreams(spec: Reader) -> tuple[UpstreamGrant, ...]:
    grants: dict[str, UpstreamGrant] = {}
    for item in spec.items("upstreams")[:UPSTREAMS_MAX]:
        service = item.child("service")
        name, host = item.required("name"), item.text("host")
        if name in grants:
            item.complain("name", f"stands twice: {name!r}", "give each upstream a name of its own")
        if host and not _HOST.fullmatch(host):
            item.complain("host", f"must be a host name, with a port where it has one, not {host!r}")
        port = service.text("port") if isinstance(service.raw.get("port"), str) else ""
        number = None if port else service.number("port", 1, 65535)
        if not port and number is None:
            service.complain("port", "must be the number or the name of a port")
        grants[name] = UpstreamGrant(
            name, service.required("name"), port or str(number or 0), host, item.origin.field
        )
    return tuple(grants.values())


def _read_schema(spec: Reader) -> str:
    schema = spec.child("configSchema")
    return json.dumps(schema.raw, sort_keys=True, default=str) if schema.present else ""
