"""A signature counts where a known key made it over a payload that names the digest."""

import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from zeroserve_operator.artifacts.signatures import is_bundle_signed, is_signed, read_public_key

from .signing import make_bundle, make_key, make_payload, sign

DIGEST = "sha256:" + "12" * 32
KEY, PEM = make_key()
OTHER, OTHER_PEM = make_key()
PUBLIC = read_public_key(PEM.encode())
PAYLOAD = make_payload(DIGEST)


def test_what_a_key_signed_counts():
    assert is_signed(PAYLOAD, sign(KEY, PAYLOAD), DIGEST, [read_public_key(OTHER_PEM.encode()), PUBLIC])


@pytest.mark.parametrize(
    ("payload", "signature"),
    [
        (PAYLOAD, sign(OTHER, PAYLOAD)),
        (PAYLOAD, sign(KEY, PAYLOAD + b" ")),
        (PAYLOAD, ""),
        (PAYLOAD, "%"),
        (make_payload("sha256:" + "13" * 32), sign(KEY, make_payload("sha256:" + "13" * 32))),
        (make_payload(DIGEST, "other"), sign(KEY, make_payload(DIGEST, "other"))),
        (b"[]", sign(KEY, b"[]")),
        (b"[" * 100_000, sign(KEY, b"[" * 100_000)),
    ],
    ids=["other key", "other payload", "none", "no base64", "other digest", "other type", "list", "depth"],
)
def test_anything_else_does_not(payload, signature):
    assert not is_signed(payload, signature, DIGEST, [PUBLIC])


def test_without_keys_nothing_is_signed():
    assert not is_signed(PAYLOAD, sign(KEY, PAYLOAD), DIGEST, [])


@given(st.binary(max_size=200), st.text(max_size=100))
def test_any_bytes_are_no_signature(payload, signature):
    assert not is_signed(payload, signature, DIGEST, [PUBLIC])


def test_a_bundle_that_a_key_signed_counts():
    assert is_bundle_signed(make_bundle(KEY, DIGEST), DIGEST, [read_public_key(OTHER_PEM.encode()), PUBLIC])


def change_envelope(**changes):
    bundle = json.loads(make_bundle(KEY, DIGEST))
    bundle["dsseEnvelope"] |= changes
    return json.dumps(bundle).encode()


BUNDLES = {
    "other key": make_bundle(OTHER, DIGEST),
    "other digest": make_bundle(KEY, "sha256:" + "13" * 32),
    "other algorithm": make_bundle(KEY, "sha512:" + "12" * 32),
    "no subject": make_bundle(KEY, DIGEST, subject=[]),
    "a subject that is none": make_bundle(KEY, DIGEST, subject=["x"]),
    "another predicate": make_bundle(KEY, DIGEST, predicateType="https://slsa.dev/provenance/v1"),
    "another statement": make_bundle(KEY, DIGEST, _type="https://in-toto.io/Statement/v0.1"),
    "another payload": make_bundle(KEY, DIGEST, kind="application/json"),
    "a type that was not signed": change_envelope(payloadType="application/vnd.in-toto+jsom"),
    "no signature": change_envelope(signatures=[]),
    "a signature that is no text": change_envelope(signatures=[{"sig": 7}]),
    "a signature beyond the limit": change_envelope(
        signatures=[{"sig": "AA=="}] * 16 + json.loads(make_bundle(KEY, DIGEST))["dsseEnvelope"]["signatures"]
    ),
    "a payload of another bundle": change_envelope(
        payload=json.loads(make_bundle(OTHER, DIGEST, predicate={"x": 1}))["dsseEnvelope"]["payload"]
    ),
    "a payload that is no base64": change_envelope(payload="%"),
    "depth": b"[" * 100_000,
    "a list": b"[]",
    "nothing": b"",
}


@pytest.mark.parametrize("name", BUNDLES)
def test_any_other_bundle_does_not(name):
    assert not is_bundle_signed(BUNDLES[name], DIGEST, [PUBLIC])


@given(st.binary(max_size=300))
def test_any_bytes_are_no_bundle(content):
    assert not is_bundle_signed(content, DIGEST, [PUBLIC])


def pem_of(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_keys_of_other_kinds_are_refused_by_name():
    for key in (ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)):
        with pytest.raises(ValueError, match="curve P-256"):
            read_public_key(pem_of(key))
    with pytest.raises(ValueError, match="no public key in PEM"):
        read_public_key(b"-----BEGIN PUBLIC KEY-----\n")


def test_what_cosign_wrote_counts():
    """The files of this folder are as a registry gave them after `cosign sign` (2.4.3) of a pushed plugin."""
    files = Path(__file__).parent / "cosign"
    digest = "sha256:" + hashlib.sha256((files / "manifest.json").read_bytes()).hexdigest()
    layer = json.loads((files / "signature.json").read_bytes())["layers"][0]
    signature = layer["annotations"]["dev.cosignproject.cosign/signature"]
    key = read_public_key((files / "cosign.pub").read_bytes())
    payload = (files / "payload.json").read_bytes()
    assert is_signed(payload, signature, digest, [key])
    assert not is_signed(payload, signature, digest, [PUBLIC])


def test_a_bundle_that_cosign_wrote_counts():
    """As a registry gave it after `cosign sign --key --tlog-upload=false` (3.1.3) of a pushed plugin."""
    files = Path(__file__).parent / "cosign3"
    digest = "sha256:" + hashlib.sha256((files / "manifest.json").read_bytes()).hexdigest()
    bundle = (files / "bundle.json").read_bytes()
    assert is_bundle_signed(bundle, digest, [read_public_key((files / "cosign.pub").read_bytes())])
    assert not is_bundle_signed(bundle, digest, [PUBLIC])
