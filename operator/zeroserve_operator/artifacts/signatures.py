"""Signatures of artefacts, as cosign writes them: ECDSA P-256 over a "simple signing" payload, or a bundle.

In: public keys, payloads, signatures and bundles that a registry gave. Out: whether one of the keys signed a
digest. The rule: what was signed counts only where it names the digest at hand, and says that it signs it
(sigstore/cosign, specs/SIGNATURE_SPEC.md; sigstore/protobuf-specs, Bundle; secure-systems-lab, DSSE).
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
STATEMENT_TYPE = "application/vnd.in-toto+json"
STATEMENT_VERSION = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://sigstore.dev/cosign/sign/v1"
"""A signature; other predicates attest something else of what they name."""
ENVELOPE_SIGNATURES_MAX = 16


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


def is_bundle_signed(bundle: bytes, digest: str, keys: Iterable[PublicKey]) -> bool:
    """Whether one of the keys signed the statement of a sigstore bundle (v0.3), and it names the digest."""
    try:
        envelope = json.loads(bundle)["dsseEnvelope"]
        kind, statement = envelope["payloadType"], base64.b64decode(envelope["payload"], validate=True)
        texts = [each["sig"] for each in envelope["signatures"][:ENVELOPE_SIGNATURES_MAX]]
    except (KeyError, TypeError, ValueError, RecursionError):
        return False
    if kind != STATEMENT_TYPE or not _states_digest(statement, digest):
        return False
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(statement), statement)
    known = list(keys)
    return any(isinstance(text, str) and _verify(key, signed, text) for text in texts for key in known)


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


def _states_digest(statement: bytes, digest: str) -> bool:
    algorithm, _, hexadecimal = digest.partition(":")
    try:
        stated = json.loads(statement)
        kinds = (stated["_type"], stated["predicateType"])
        found = [subject["digest"][algorithm] for subject in stated["subject"]]
    except (KeyError, TypeError, ValueError, RecursionError):
        return False
    return kinds == (STATEMENT_VERSION, PREDICATE_TYPE) and hexadecimal in found
