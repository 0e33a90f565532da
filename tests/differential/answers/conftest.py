"""Stock Caddy and `zeroserve run`, each serving all cases from one Caddyfile."""

import contextlib
import datetime
import ipaddress
import sys
from pathlib import Path

import bcrypt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from ports import free_ports

sys.path.insert(0, str(Path(__file__).parent))

from backends import backend, closing_backend, trailing_backend
from serving import serving
from trees import make_tree


def make_certificate(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a.example")])
    now = datetime.datetime.now(datetime.UTC)
    names = [
        x509.DNSName("a.example"),
        x509.DNSName("*.a.example"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "tls.crt").write_bytes(certificate.public_bytes(pem))
    (folder / "tls.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@pytest.fixture(scope="session")
def variables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    make_certificate(folder)
    site = tmp_path_factory.mktemp("site")
    make_tree(site)
    with contextlib.ExitStack() as stack:
        one, two = (stack.enter_context(backend(name)) for name in ("one", "two"))
        yield {
            **{f"CLOSING_{letter}": stack.enter_context(closing_backend()) for letter in "ABCDEFG"},
            "ONE": one,
            "TWO": two,
            "TRAILING": stack.enter_context(trailing_backend()),
            "DEAD": free_ports(1)[0],
            "CERTIFICATE": folder / "tls.crt",
            "KEY": folder / "tls.key",
            "SITE": site,
            "HASH": bcrypt.hashpw(b"open sesame", bcrypt.gensalt(4)).decode(),
        }


@pytest.fixture(scope="session")
def servers(tmp_path_factory, variables):
    """Both servers, serving all cases: (stock Caddy, ours)."""
    with serving(tmp_path_factory, variables) as started:
        yield started
