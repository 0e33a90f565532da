"""Certificates: TLS Secrets to what the engine serves by SNI.

In: a request (a Secret and the names that want it), the Secret, the time. Out: the Certificate message, or
none, and what is wrong. Rule: a certificate is served only for names that it covers; the others get the
default one (ingress-nginx: controller.go, createServers). No private key is ever printed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.model import CertificateRequest

from zeroserve_operator.building.hosts import covers
from zeroserve_operator.resources.secrets import Secret

EXPIRY_WARNING = timedelta(days=10)
"""ingress-nginx warns so long before the end; cert-manager renews 30 days before it."""
CHAIN_LENGTH_MAX = 16
RSA_BITS_MIN = 2048
CHAIN_KEY, PRIVATE_KEY = "tls.crt", "tls.key"


class KeyPairError(Exception):
    """A Secret that does not hold a usable key pair; says why."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A chain with its key, proved to belong together."""

    chain: tuple[bytes, ...]
    key: bytes
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime

    def __repr__(self) -> str:
        return f"KeyPair({', '.join(self.names)})"


@dataclass(frozen=True, slots=True)
class BuiltCertificate:
    """A Certificate message, where it can be served, and findings."""

    message: pb.Certificate | None
    diagnostics: tuple[Diagnostic, ...]


def build_certificate(request: CertificateRequest, secret: Secret | None, now: datetime) -> BuiltCertificate:
    """Build the certificate of a Secret."""
    name = request.name
    if secret is None:
        return BuiltCertificate(None, _tell(request, Code.ZS0501, f"Secret {name} is not there{_DEFAULT}"))
    try:
        pair = read_key_pair(secret)
    except KeyPairError as error:
        return BuiltCertificate(None, _tell(request, error.code, f"Secret {name} {error}{_DEFAULT}"))
    findings = list(_check_times(request, pair, now))
    hosts = []
    for host in request.hosts:
        if any(covers(pattern, host) for pattern in pair.names):
            hosts.append(host)
        else:
            message = f"certificate of Secret {name} does not cover {host}{_DEFAULT}"
            cure = f"it covers {', '.join(pair.names[:8]) or 'no name'}"
            findings += _tell(request, Code.ZS0504, message, Severity.WARNING, cure)
    served = pb.Certificate(name=name, hosts=hosts, chain=list(pair.chain), key=pair.key)
    return BuiltCertificate(served, tuple(findings))


_DEFAULT = ": the default certificate is served"


def read_key_pair(secret: Secret) -> KeyPair:
    """Read and check a key pair; raises `KeyPairError`."""
    chain, key = secret.get(CHAIN_KEY), secret.get(PRIVATE_KEY)
    if not chain or not key:
        missing = CHAIN_KEY if not chain else PRIVATE_KEY
        raise KeyPairError(Code.ZS0502, f"has no `{missing}`")
    return _read(chain, key)


@lru_cache(2048)
def _read(chain_pem: bytes, key_pem: bytes) -> KeyPair:
    try:
        chain = x509.load_pem_x509_certificates(chain_pem)
        leaf = chain[0]
        public = leaf.public_key()
        names = _names_of(leaf)
        not_before, not_after = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise KeyPairError(Code.ZS0503, f"holds no certificate that can be read in `{CHAIN_KEY}`") from error
    if len(chain) > CHAIN_LENGTH_MAX:
        raise KeyPairError(Code.ZS0503, f"holds a chain of more than {CHAIN_LENGTH_MAX} certificates")
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
        same = _public_bytes(key.public_key()) == _public_bytes(public)
        der = key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # The library's own message may quote the input: it is not passed on.
        raise KeyPairError(
            Code.ZS0503, f"holds no private key that can be read in `{PRIVATE_KEY}`"
        ) from error
    _check_algorithm(key)
    if not same:
        raise KeyPairError(Code.ZS0503, "holds a private key that does not belong to its certificate")
    encoded = tuple(item.public_bytes(serialization.Encoding.DER) for item in chain)
    return KeyPair(encoded, der, names, not_before, not_after)


def _check_algorithm(key: object) -> None:
    match key:
        case rsa.RSAPrivateKey() if key.key_size >= RSA_BITS_MIN:
            return
        case rsa.RSAPrivateKey():
            raise KeyPairError(
                Code.ZS0503, f"holds an RSA key of {key.key_size} bits; {RSA_BITS_MIN} is the least"
            )
        case ec.EllipticCurvePrivateKey() if isinstance(
            key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1
        ):
            return
        case ed25519.Ed25519PrivateKey():
            return
    raise KeyPairError(Code.ZS0503, "holds a key that is not RSA, ECDSA (P-256, P-384, P-521) or Ed25519")


def _public_bytes(key: object) -> bytes:
    encode = getattr(key, "public_bytes")  # noqa: B009 - the union of all key types has no common base
    return bytes(encode(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))


def _names_of(leaf: x509.Certificate) -> tuple[str, ...]:
    """Return the DNS names; the common name counts only without any (RFC 9525 leaves it out, many do not)."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = [str(name).lower() for name in names.get_values_for_type(x509.DNSName)]
    except x509.ExtensionNotFound:
        common = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        found = [str(item.value).lower() for item in common]
    return tuple(sorted(set(found)))


def _check_times(request: CertificateRequest, pair: KeyPair, now: datetime) -> tuple[Diagnostic, ...]:
    name, end = request.name, pair.not_after.astimezone(UTC)
    if now > end:
        when = f"expired on {end:%Y-%m-%d}"
    elif now < pair.not_before:
        when = f"begins on {pair.not_before:%Y-%m-%d}"
    elif now + EXPIRY_WARNING > end:
        when = f"expires on {end:%Y-%m-%d}"
    else:
        return ()
    return _tell(request, Code.ZS0503, f"certificate of Secret {name} {when}", Severity.WARNING)


def _tell(
    request: CertificateRequest,
    code: Code,
    message: str,
    severity: Severity = Severity.ERROR,
    cure: str = "",
) -> tuple[Diagnostic, ...]:
    """Tell every object that asks for the Secret."""
    return tuple(
        Diagnostic(code, message, origin=origin, help=cure, severity=severity) for origin in request.origins
    )
