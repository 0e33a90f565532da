"""Pulling one plugin: its manifest by digest, its signature, then its file.

In: a reference, keys, credentials, what is allowed. Out: the file's bytes, or ArtifactError. Rule: the file
is asked for once its manifest's digest proved to be signed by a key of the object and by one of the
operator's, as far as they name any; without a key at all nothing is pulled.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from zeroserve_ir.plugins.modules import OBJECT_BYTES_MAX

from zeroserve_operator.artifacts.answers import Answers, Noting, Source
from zeroserve_operator.artifacts.faults import bad_signature, cannot_pull
from zeroserve_operator.artifacts.references import Reference
from zeroserve_operator.artifacts.registries import Credentials, Registry, RegistryPolicy, read_object
from zeroserve_operator.artifacts.signatures import PublicKey, is_bundle_signed, is_signed

PLUGIN_TYPE: Final = "application/vnd.zeroserve.plugin.v1.elf"
PAYLOAD_TYPE: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE: Final = "dev.cosignproject.cosign/signature"
PAYLOAD_BYTES_MAX: Final = 64 << 10
BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
BUNDLE_BYTES_MAX: Final = 256 << 10
"""A bundle may carry proofs of a transparency log beside its signature."""
SIGNATURES_MAX: Final = 16
LAYERS_MAX: Final = 64
Signature = Callable[[Iterable[PublicKey]], bool]
"""Tells whether it is by one of the keys."""


@dataclass(frozen=True, slots=True)
class PullRequest:
    """One artefact, and what it takes to trust and to get it."""

    reference: Reference
    key: PublicKey | None = None
    """The object's own: its signature is wanted beside that of the operator's keys."""
    credentials: Credentials | None = None


@dataclass(frozen=True, slots=True)
class Pulled:
    """A plugin's file, and the answers that it was proved by."""

    content: bytes
    answers: Answers = field(default_factory=dict)


def pull_plugin(request: PullRequest, policy: RegistryPolicy) -> Pulled:
    """Return the file of an artefact; raises ArtifactError."""
    source = Noting(Registry(policy, request.reference, request.credentials))
    content = check_plugin(source, request, policy)
    return Pulled(content, source.answers)


def check_plugin(source: Source, request: PullRequest, policy: RegistryPolicy) -> bytes:
    """Return the file of an artefact by its registry, or what stands for it; raises ArtifactError."""
    reference = request.reference
    policy.find(reference)
    groups = [keys for keys in ([request.key] if request.key else [], list(policy.keys)) if keys]
    if not groups:
        cure = "set spec.source.oci.publicKey, or the chart's value plugins.publicKeys"
        raise bad_signature("there is no key to check its signature with", cure)
    manifest = source.read_manifest(reference.digest)
    if manifest is None:
        raise cannot_pull(f"{reference} is not there")
    signatures = [*_read_signatures(source), *_read_bundles(source)]
    if not signatures:
        raise bad_signature(f"{reference} is not signed", f"cosign sign --key cosign.key {reference}")
    for keys in groups:
        if not any(is_by(keys) for is_by in signatures):
            raise bad_signature(
                f"no signature of {reference} is by {'this key' if len(keys) == 1 else 'one of these keys'}",
                f"cosign sign --key cosign.key {reference}",
            )
    layer = _find_layer(read_object(manifest, "manifest"))
    size = layer.get("size")
    if not isinstance(size, int) or not 0 < size <= OBJECT_BYTES_MAX:
        raise cannot_pull(f"the file must have 1 to {OBJECT_BYTES_MAX} bytes, not {size!r}")
    return source.read_blob(_digest_of(layer), size)


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


def _read_signatures(source: Source) -> Iterator[Signature]:
    """Yield the signatures of the artefact that cosign keeps under a tag beside the signed one."""
    reference = source.reference
    content = source.read_manifest(reference.signature_tag)
    if content is None:
        return
    found = _layers(read_object(content, "signature"))
    for layer in [each for each in found if each.get("mediaType") == PAYLOAD_TYPE][:SIGNATURES_MAX]:
        annotations = layer.get("annotations")
        text = annotations.get(SIGNATURE) if isinstance(annotations, dict) else None
        if isinstance(text, str):
            payload = source.read_blob(_digest_of(layer), PAYLOAD_BYTES_MAX)
            yield partial(is_signed, payload, text, reference.digest)


def _read_bundles(source: Source) -> Iterator[Signature]:
    """Yield the signatures of the artefacts that refer to the signed one, as cosign 3 writes them."""
    digest = source.reference.digest
    content = source.read_referrers(digest, BUNDLE_TYPE)
    found = read_object(content, "list of referrers").get("manifests") if content is not None else None
    entries = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    for entry in [each for each in entries if each.get("artifactType") == BUNDLE_TYPE][:SIGNATURES_MAX]:
        manifest = source.read_manifest(_digest_of(entry))
        for layer in _layers(read_object(manifest, "signature")) if manifest is not None else ():
            if layer.get("mediaType") == BUNDLE_TYPE:
                bundle = source.read_blob(_digest_of(layer), BUNDLE_BYTES_MAX)
                yield partial(is_bundle_signed, bundle, digest)


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
