"""The certificate for names that have none of their own: self-signed, made once.

In: the time. Out: a key pair as PEM, for a Secret or for `zeroserve dev`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from zeroserve_ir._pb import resources_pb2 as pb

NAME = "zeroserve default certificate"
HOST = "ingress.local"
LIFETIME = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class PemPair:
    """A certificate and its key."""

    certificate: bytes
    key: bytes = field(repr=False)


def make_default_certificate(now: datetime) -> PemPair:
    """Make a self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return PemPair(certificate.public_bytes(pem), private)


def to_message(pair: PemPair) -> pb.Certificate:
    """Return a key pair as the Certificate resource that serves unknown names."""
    chain = x509.load_pem_x509_certificates(pair.certificate)
    key = serialization.load_pem_private_key(pair.key, password=None)
    der = serialization.Encoding.DER
    private = key.private_bytes(der, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pb.Certificate(name="default", chain=[item.public_bytes(der) for item in chain], key=private)
