"""Signatures of artefacts, as cosign writes them: ECDSA P-256 over a "simple signing" payload.

In: public keys, payloads and signatures that a registry gave. Out: whether one of the keys signed a digest.
The rule: a payload counts only where it names the digest at hand (sigstore/cosign, specs/SIGNATURE_SPEC.md).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PublicKey = ec.EllipticCurvePublicKey
PAYLOAD_TYPE = "cosign container image signature"


def read_public_key(pem: bytes) -> PublicKey:
    """Read a PEM file such as `cosign.pub`; raises ValueError, in words for people."""
    try:
        key = serialization.load_pem_public_key(pem)
    except Exception as error:
        raise ValueError("is no public key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("must be an ECDSA key of the curve P-256, as `cosign generate-key-pair` makes")
    return key


def is_signed(payload: bytes, signature: str, digest: str, keys: Iterable[PublicKey]) -> bool:
    """Whether one of the keys signed this payload (signature in base64), and the payload names the digest."""
    return _names_digest(payload, digest) and any(_verify(key, payload, signature) for key in keys)


def _verify(key: PublicKey, payload: bytes, signature: str) -> bool:
    try:
        key.verify(base64.b64decode(signature, validate=True), payload, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _names_digest(payload: bytes, digest: str) -> bool:
    try:
        critical = json.loads(payload)["critical"]
        return bool(
            critical["type"] == PAYLOAD_TYPE and critical["image"]["docker-manifest-digest"] == digest
        )
    except (KeyError, TypeError, ValueError, RecursionError):
        return False
