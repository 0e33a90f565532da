"""Pulling one plugin: its manifest by digest, its signature, then its file.

In: a reference, keys, credentials, what is allowed. Out: the file's bytes, or ArtifactError. Rule: the file
is asked for once its manifest's digest proved to be signed by a key of the object and by one of the
operator's, as far as they name any; without a key at all nothing is pulled.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from zeroserve_ir.plugins.modules import OBJECT_BYTES_MAX

from zeroserve_operator.artifacts.faults import bad_signature, cannot_pull
from zeroserve_operator.artifacts.references import Reference
from zeroserve_operator.artifacts.registries import Credentials, Registry, RegistryPolicy, read_object
from zeroserve_operator.artifacts.signatures import PublicKey, is_signed

PLUGIN_TYPE: Final = "application/vnd.zeroserve.plugin.v1.elf"
PAYLOAD_TYPE: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE: Final = "dev.cosignproject.cosign/signature"
PAYLOAD_BYTES_MAX: Final = 64 << 10
SIGNATURES_MAX: Final = 16
LAYERS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class PullRequest:
    """One artefact, and what it takes to trust and to get it."""

    reference: Reference
    key: PublicKey | None = None
    """The object's own: its signature is wanted beside that of the operator's keys."""
    credentials: Credentials | None = None


def pull_plugin(request: PullRequest, policy: RegistryPolicy) -> bytes:
    """Return the file of an artefact; raises ArtifactError."""
    reference = request.reference
    groups = [keys for keys in ([request.key] if request.key else [], list(policy.keys)) if keys]
    registry = Registry(policy, reference, request.credentials)
    if not groups:
        cure = "set spec.source.oci.publicKey, or the chart's value plugins.publicKeys"
        raise bad_signature("there is no key to check its signature with", cure)
    manifest = registry.read_manifest(reference.digest)
    if manifest is None:
        raise cannot_pull(f"{reference} is not there")
    signatures = list(_read_signatures(registry))
    for keys in groups:
        if not any(is_signed(payload, text, reference.digest, keys) for payload, text in signatures):
            raise bad_signature(
                f"no signature of {reference} is by {'this key' if len(keys) == 1 else 'one of these keys'}",
                f"cosign sign --key cosign.key {reference}",
            )
    layer = _find_layer(read_object(manifest, "manifest"))
    size = layer.get("size")
    if not isinstance(size, int) or not 0 < size <= OBJECT_BYTES_MAX:
        raise cannot_pull(f"the file must have 1 to {OBJECT_BYTES_MAX} bytes, not {size!r}")
    return registry.read_blob(_digest_of(layer), size)


def read_credentials(config: bytes, host: str) -> Credentials | None:
    """Return the account for a host of a `.dockerconfigjson`; ArtifactError where it is none."""
    auths = read_object(config, ".dockerconfigjson").get("auths")
    entry = auths.get(host) or auths.get(f"https://{host}") if isinstance(auths, dict) else None
    if not isinstance(entry, dict):
        return None
    user, password, both = entry.get("username"), entry.get("password"), entry.get("auth")
    if isinstance(both, str) and not user:
        try:
            user, _, password = base64.b64decode(both, validate=True).decode().partition(":")
        except (binascii.Error, ValueError) as error:
            raise cannot_pull(f"the account for {host} in .dockerconfigjson is no base64") from error
    if not isinstance(user, str) or not isinstance(password, str):
        return None
    return Credentials(user, password)


def _read_signatures(registry: Registry) -> Iterator[tuple[bytes, str]]:
    """Yield payloads with their signatures, of the artefact that cosign keeps beside the signed one."""
    content = registry.read_manifest(registry.reference.signature_tag)
    if content is None:
        reference = registry.reference
        raise bad_signature(f"{reference} is not signed", f"cosign sign --key cosign.key {reference}")
    found = (each for each in _layers(read_object(content, "signature")))
    for layer in [each for each in found if each.get("mediaType") == PAYLOAD_TYPE][:SIGNATURES_MAX]:
        annotations = layer.get("annotations")
        text = annotations.get(SIGNATURE) if isinstance(annotations, dict) else None
        if isinstance(text, str):
            yield registry.read_blob(_digest_of(layer), PAYLOAD_BYTES_MAX), text


def _find_layer(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the layer of our type, else the only one."""
    layers = _layers(manifest)
    typed = [layer for layer in layers if layer.get("mediaType") == PLUGIN_TYPE]
    chosen: Sequence[dict[str, Any]] = typed or layers
    if len(chosen) != 1:
        cure = f"push the file alone, as {PLUGIN_TYPE}: zeroserve plugin push"
        raise cannot_pull(f"the artefact has {len(chosen)} layers that may be the file", cure)
    return chosen[0]


def _layers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    layers = manifest.get("layers")
    if not isinstance(layers, list) or len(layers) > LAYERS_MAX:
        raise cannot_pull("the artefact's manifest is no OCI image manifest")
    return [layer for layer in layers if isinstance(layer, dict)]


def _digest_of(layer: dict[str, Any]) -> str:
    digest = layer.get("digest")
    hexadecimal = digest.removeprefix("sha256:") if isinstance(digest, str) else ""
    if len(hexadecimal) != 64 or not set(hexadecimal) <= set("0123456789abcdef"):
        raise cannot_pull("the artefact's manifest has a malformed digest")
    return f"sha256:{hexadecimal}"
