"""Certificates of a Caddyfile's sites: from files, or from a local authority.

In: `tls` of the sites, a reader of files, the time. Out: Certificate messages and findings. Who calls:
`drafting_sites`. Rule: a certificate that cannot be used is a finding, and its names get one of the local
authority instead, so that they answer by TLS and never in the clear.
"""

from __future__ import annotations

import datetime
import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.authorities import Authority, IssuedCertificate
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.sources import Span
from zeroserve_ir.tree import CertificateFiles

ReadFile = Callable[[str], bytes]
ROOT_LIFETIME = datetime.timedelta(days=3650)
LEAF_LIFETIME = datetime.timedelta(days=90)
LEAF_RENEWAL = datetime.timedelta(days=30)
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(slots=True)
class LocalCertificates:
    """Issues and remembers certificates of a local authority, so that an equal draft stays equal."""

    authority: Authority
    _issued: dict[tuple[str, ...], IssuedCertificate] = field(default_factory=dict)

    @staticmethod
    def create(now: datetime.datetime) -> LocalCertificates:
        """Make an authority that lives in memory only."""
        return LocalCertificates(Authority.create("zeroserve local authority", now, ROOT_LIFETIME))

    @staticmethod
    def open(directory: Path, now: datetime.datetime) -> LocalCertificates:
        """Load the authority kept in a directory, or make and keep one, so that clients may trust its root.

        `root.pem` holds the key too (mode 0600), `root.crt` the certificate alone. OSError, ValueError.
        """
        kept = directory / "root.pem"
        if kept.exists():
            authority = Authority.load(kept.read_bytes())
            if authority.certificate.not_valid_after_utc > now + LEAF_LIFETIME:
                return LocalCertificates(authority)
        made = LocalCertificates.create(now)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept.unlink(missing_ok=True)
        kept.touch(mode=0o600)
        kept.write_bytes(made.authority.dump())
        (directory / "root.crt").write_bytes(made.authority.certificate_pem)
        return made

    def find(self, names: Iterable[str], now: datetime.datetime) -> IssuedCertificate:
        """Return a certificate for the names, issued anew when the last one nears its end."""
        key = tuple(sorted(set(names)))
        issued = self._issued.get(key)
        if issued is None or issued.not_after - now < LEAF_RENEWAL:
            issued = self._issued[key] = self.authority.issue(key, now, LEAF_LIFETIME)
        return issued


@lru_cache(maxsize=1)
def find_local_certificates() -> LocalCertificates:
    """Return this user's local authority, kept under XDG_DATA_HOME, or one in memory where that fails."""
    base = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    now = datetime.datetime.now(datetime.UTC)
    try:
        return LocalCertificates.open(Path(base) / "zeroserve" / "pki", now)
    except (OSError, ValueError):
        return LocalCertificates.create(now)


def make_local_certificate(
    name: str, hosts: Iterable[str], certificates: LocalCertificates, now: datetime.datetime
) -> pb.Certificate:
    """Return a certificate of the local authority, served for `hosts` by SNI."""
    hosts = sorted(set(hosts))
    issued = certificates.find(hosts or LOCAL_NAMES, now)
    return pb.Certificate(name=name, hosts=hosts, chain=list(issued.chain), key=issued.key)


def read_certificate(
    files: CertificateFiles, read_file: ReadFile, span: Span, now: datetime.datetime
) -> pb.Certificate | Diagnostic:
    """Return the certificate of a `tls CERT KEY`, served for no host yet, or what is wrong with it."""
    texts = []
    for path in (files.certificate, files.key):
        try:
            texts.append(read_file(path))
        except OSError as error:
            return Diagnostic(Code.ZS0111, f"cannot read {path}: {error.strerror or error}", span)
    try:
        chain = x509.load_pem_x509_certificates(texts[0])
    except ValueError:
        return Diagnostic(Code.ZS0503, f"{files.certificate} holds no certificate in PEM", span)
    try:
        key = load_pem_private_key(texts[1], None)
        encoded = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        cure = "write an unencrypted private key in PEM"
        return Diagnostic(Code.ZS0503, f"{files.key} holds no private key", span, help=cure)
    public = PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(Encoding.DER, public) != chain[0].public_key().public_bytes(
        Encoding.DER, public
    ):
        return Diagnostic(Code.ZS0503, f"{files.key} is not the key of {files.certificate}", span)
    if chain[0].not_valid_after_utc < now:
        return Diagnostic(
            Code.ZS0503, f"{files.certificate} ended on {chain[0].not_valid_after_utc:%Y-%m-%d}", span
        )
    ders = [certificate.public_bytes(Encoding.DER) for certificate in chain]
    name = hashlib.sha256(b"".join(ders)).hexdigest()
    return pb.Certificate(name=name, chain=ders, key=encoded)
