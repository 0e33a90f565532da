"""Signs artefacts as cosign's SIGNATURE_SPEC.md says: a payload with the digest, ECDSA P-256 over it."""

import base64
import json

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def make_key():
    """Return a private key, and its public one in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return key, pem.decode()


def make_payload(digest, kind="cosign container image signature"):
    """Return a payload of "simple signing"."""
    image = {"docker-manifest-digest": digest}
    critical = {"identity": {"docker-reference": ""}, "image": image, "type": kind}
    return json.dumps({"critical": critical, "optional": None}, separators=(",", ":")).encode()


def sign(key, payload):
    """Return a signature as the annotation holds it."""
    return base64.b64encode(key.sign(payload, ec.ECDSA(hashes.SHA256()))).decode()


STATEMENT = {
    "_type": "https://in-toto.io/Statement/v1",
    "predicateType": "https://sigstore.dev/cosign/sign/v1",
    "predicate": {},
}


def make_bundle(key, digest, *, kind="application/vnd.in-toto+json", **changes):
    """Return a sigstore bundle (v0.3) with a signed statement about a digest, as cosign 3 writes it."""
    algorithm, _, hexadecimal = digest.partition(":")
    stated = STATEMENT | {"subject": [{"digest": {algorithm: hexadecimal}}]} | changes
    statement = json.dumps(stated).encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(statement), statement)
    envelope = {
        "payload": base64.b64encode(statement).decode(),
        "payloadType": kind,
        "signatures": [{"sig": sign(key, signed)}],
    }
    bundle = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": "aGludA=="}},
        "dsseEnvelope": envelope,
    }
    return json.dumps(bundle).encode()
