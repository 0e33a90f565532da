"""A small certificate authority: for names without a certificate, and for the operator's own TLS.

In: names and the time. Out: leaf certificates with keys, in memory. Who calls: `sites` (`tls internal` and
names without files) and the operator's publishing. Rule: nothing here writes a file or asks a clock.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BACKDATING = datetime.timedelta(hours=1)
"""Clocks of nodes differ; a certificate is valid a little before it is made."""


@dataclass(frozen=True, slots=True, repr=False)
class IssuedCertificate:
    """A leaf with its chain (DER, leaf first, without the root) and its PKCS#8 key (DER)."""

    chain: tuple[bytes, ...]
    key: bytes
    not_after: datetime.datetime

    def __repr__(self) -> str:
        return f"IssuedCertificate(not_after={self.not_after:%Y-%m-%d}, key=[redacted])"

    @property
    def chain_pem(self) -> bytes:
        """The chain as PEM."""
        certificates = (x509.load_der_x509_certificate(entry) for entry in self.chain)
        return b"".join(entry.public_bytes(serialization.Encoding.PEM) for entry in certificates)

    @property
    def key_pem(self) -> bytes:
        """The key as PEM."""
        key = serialization.load_der_private_key(self.key, None)
        return key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


@dataclass(frozen=True, slots=True, repr=False)
class Authority:
    """A root certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return f"Authority({self.certificate.subject.rfc4514_string()}, key=[redacted])"

    @staticmethod
    def create(name: str, now: datetime.datetime, lifetime: datetime.timedelta) -> Authority:
        """Make a root of the given common name. `now` is aware, in UTC."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = _key_usage(signs_certificates=True)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATING)
            .not_valid_after(now + lifetime)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return Authority(certificate, key)

    def issue(
        self, names: Sequence[str], now: datetime.datetime, lifetime: datetime.timedelta
    ) -> IssuedCertificate:
        """Sign a server certificate for DNS names and IP literals; it never outlives the root."""
        key = ec.generate_private_key(ec.SECP256R1())
        not_after = min(now + lifetime, self.certificate.not_valid_after_utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATING)
            .not_valid_after(not_after)
            .add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=True
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )
        encoded = key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return IssuedCertificate((certificate.public_bytes(serialization.Encoding.DER),), encoded, not_after)

    @property
    def certificate_pem(self) -> bytes:
        """The root certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def dump(self) -> bytes:
        """Return certificate and key as PEM, for a store that keeps secrets."""
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self.certificate_pem + key

    @staticmethod
    def load(pem: bytes) -> Authority:
        """Return what `dump` wrote. ValueError when it is something else."""
        certificate = x509.load_pem_x509_certificate(pem)
        key = serialization.load_pem_private_key(pem[pem.index(b"-----BEGIN PRIVATE KEY") :], None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise ValueError("key and certificate of the authority do not belong together")
        return Authority(certificate, key)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
