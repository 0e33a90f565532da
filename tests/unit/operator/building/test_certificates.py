"""Certificates: which Secret is served for which name."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from zeroserve_ir.model import CertificateRequest
from zeroserve_ir.sources import Origin
from zeroserve_operator.building.certificates import build_certificate
from zeroserve_operator.resources.objects import Kind, Meta, ObjectKey
from zeroserve_operator.resources.secrets import Redacted, Secret

NOW = datetime(2026, 11, 21, tzinfo=UTC)
PEM = serialization.Encoding.PEM


def pair(names=("shop.example",), days=90, key=None):
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    )
    builder = builder.serial_number(7).not_valid_before(NOW - timedelta(days=100))
    builder = builder.not_valid_after(NOW + timedelta(days=days))
    builder = builder.add_extension(
        x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False
    )
    private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return builder.sign(key, hashes.SHA256()).public_bytes(PEM), private


def secret(certificate, key, digest="1"):
    meta = Meta(ObjectKey(Kind.SECRET, "default", "shop-tls"), digest)
    return Secret(meta, "kubernetes.io/tls", (("tls.crt", Redacted(certificate)), ("tls.key", Redacted(key))))


ORIGIN = Origin("Ingress", "default", "shop", "spec.tls[0].secretName")


def build(of, hosts=("shop.example",)):
    return build_certificate(CertificateRequest("default", "shop-tls", hosts, (ORIGIN,)), of, NOW)


def codes(built):
    return [(item.code.name, item.severity.value) for item in built.diagnostics]


def test_a_good_pair_is_served_for_its_names():
    built = build(secret(*pair(("shop.example", "*.shop.example"))), ("shop.example", "a.shop.example"))
    assert codes(built) == []
    assert built.message.name == "default/shop-tls"
    assert list(built.message.hosts) == ["shop.example", "a.shop.example"]
    assert len(built.message.chain) == 1 and built.message.key


def test_a_wildcard_covers_one_label_only():
    built = build(secret(*pair(("*.shop.example",))), ("a.b.shop.example", "shop.example"))
    assert list(built.message.hosts) == []
    assert codes(built) == [("ZS0504", "warning")] * 2


def test_a_missing_secret_is_told_to_who_names_it():
    built = build(None)
    assert built.message is None and codes(built) == [("ZS0501", "error")]
    assert built.diagnostics[0].origin == ORIGIN


def test_a_key_of_another_certificate_is_refused():
    built = build(secret(pair()[0], pair()[1]))
    assert built.message is None and codes(built) == [("ZS0503", "error")]


@pytest.mark.parametrize(("certificate", "key"), [(b"", b"x"), (b"x", b""), (b"", b"")])
def test_a_secret_without_both_halves_is_told(certificate, key):
    assert codes(build(secret(certificate, key))) == [("ZS0502", "error")]


def test_garbage_is_told_and_never_quoted():
    certificate, key = pair()
    for one, other in ((b"garbage", key), (certificate, b"-----BEGIN PRIVATE KEY-----\nsecret\n")):
        built = build(secret(one, other))
        assert codes(built) == [("ZS0503", "error")]
        assert "secret\n" not in built.diagnostics[0].render()


def test_a_weak_key_is_refused():
    built = build(secret(*pair(key=rsa.generate_private_key(65537, 1024))))
    assert codes(built) == [("ZS0503", "error")]


@pytest.mark.parametrize(("days", "word"), [(-1, "expired"), (5, "expires")])
def test_the_end_is_told_and_it_goes_on_being_served(days, word):
    built = build(secret(*pair(days=days)))
    assert built.message is not None and codes(built) == [("ZS0503", "warning")]
    assert word in built.diagnostics[0].message


def test_key_material_never_shows():
    _, key = pair()
    found = secret(*pair())
    assert "[redacted]" in repr(found) and key.decode()[40:60] not in repr(found)
