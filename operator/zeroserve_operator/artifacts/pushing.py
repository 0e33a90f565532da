"""Pushing one plugin: its file and a manifest that names it, as an artefact of OCI 1.1.

In: a file's bytes, where to. Out: the reference by digest. Called by `zeroserve plugin push`.
"""

from __future__ import annotations

import dataclasses
import json
from urllib.parse import urlencode, urlsplit

from zeroserve_operator.artifacts.answers import digest_of
from zeroserve_operator.artifacts.faults import cannot_pull
from zeroserve_operator.artifacts.pulling import PLUGIN_TYPE
from zeroserve_operator.artifacts.references import AllowedRegistry, Reference
from zeroserve_operator.artifacts.registries import MANIFEST_TYPE, Credentials, Registry, RegistryPolicy

EMPTY = b"{}"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"


def push_plugin(
    content: bytes, reference: Reference, scheme: str, credentials: Credentials | None, authorities: str = ""
) -> Reference:
    """Push a file; raises ArtifactError. `reference` may name a tag; the answer is by digest."""
    policy = RegistryPolicy((AllowedRegistry(reference.host, scheme=scheme),), authorities=authorities)
    registry = Registry(policy, reference, credentials)
    for blob in (EMPTY, content):
        _push_blob(registry, blob)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": PLUGIN_TYPE,
            "config": _describe(EMPTY, EMPTY_TYPE),
            "layers": [_describe(content, PLUGIN_TYPE)],
        },
        separators=(",", ":"),
    ).encode()
    digest = digest_of(manifest)
    answer = registry.ask(
        "PUT", f"manifests/{reference.tag or digest}", {"Content-Type": MANIFEST_TYPE}, body=manifest
    )
    if answer.status != 201:
        raise cannot_pull(f"the registry takes no manifest ({answer.status})")
    return dataclasses.replace(reference, digest=digest)


def _describe(content: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def _push_blob(registry: Registry, content: bytes) -> None:
    """In one piece: POST for a place, then PUT (OCI Distribution 1.1, pushing a blob monolithically)."""
    begun = registry.ask("POST", "blobs/uploads/", {"Content-Length": "0"})
    place = begun.headers.get("location", "")
    if begun.status != 202 or not place:
        raise cannot_pull(f"the registry takes no file ({begun.status})")
    separator = "&" if urlsplit(place).query else "?"
    target = f"{place}{separator}{urlencode({'digest': digest_of(content)})}"
    done = registry.ask("PUT", target, {"Content-Type": "application/octet-stream"}, body=content)
    if done.status != 201:
        raise cannot_pull(f"the registry takes no file ({done.status})")
