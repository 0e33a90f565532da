"""A registry in the cluster's network, and signatures there as cosign's SIGNATURE_SPEC.md describes them.

Comes in: a client of the cluster. Goes out: an address that Pods reach; references of what was pushed.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.clients import Client
from cluster.places import NODE_IP, REPOSITORY
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from zeroserve_operator.artifacts.answers import digest_of
from zeroserve_operator.artifacts.pulling import PAYLOAD_TYPE, SIGNATURE
from zeroserve_operator.artifacts.references import Reference, read_allowed
from zeroserve_operator.artifacts.registries import MANIFEST_TYPE, Registry, RegistryPolicy

PORT = 5005
ADDRESS = f"{NODE_IP}:{PORT}"
ALLOWED = f"http://{ADDRESS}/team"
"""What the tests' release allows."""


@contextmanager
def running_registry(client: Client) -> Iterator[str]:
    """Run a registry until the block ends."""
    enter = ["nsenter", f"--net={client.places.netns}"]
    process = subprocess.Popen(
        [*enter, REPOSITORY / ".make/bin/registry", ADDRESS], stderr=subprocess.DEVNULL
    )
    try:
        yield ADDRESS
    finally:
        process.terminate()
        process.wait(timeout=60)


def push(client: Client, file: Path, name: str) -> str:
    """Push a plugin by command; its reference by digest."""
    return client.zeroserve("plugin", "push", str(file), f"{ALLOWED}/{name}").strip()


def attach_signature(client: Client, reference: Reference, key: ec.EllipticCurvePrivateKey) -> None:
    """Sign a digest."""
    client.in_network(lambda: _attach(reference, key))


def _attach(reference: Reference, key: ec.EllipticCurvePrivateKey) -> None:
    registry = Registry(RegistryPolicy((read_allowed(ALLOWED),)), reference, None)
    image = {"docker-manifest-digest": reference.digest}
    identity = {"docker-reference": f"{reference.host}/{reference.repository}"}
    critical = {"identity": identity, "image": image, "type": "cosign container image signature"}
    payload = json.dumps({"critical": critical, "optional": None}).encode()
    signature = base64.b64encode(key.sign(payload, ec.ECDSA(hashes.SHA256()))).decode()
    described = []
    for content, kind in ((b"{}", "application/vnd.oci.image.config.v1+json"), (payload, PAYLOAD_TYPE)):
        digest = digest_of(content)
        place = registry.ask("POST", "blobs/uploads/", {}).headers["location"]
        assert registry.ask("PUT", f"{place}?digest={digest}", {}, body=content).status == 201
        described.append({"mediaType": kind, "digest": digest, "size": len(content)})
    layer = described[1] | {"annotations": {SIGNATURE: signature}}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": described[0], "layers": [layer]}
    body = json.dumps(manifest).encode()
    path = f"manifests/{reference.signature_tag}"
    assert registry.ask("PUT", path, {"Content-Type": MANIFEST_TYPE}, body=body).status == 201
