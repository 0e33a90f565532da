"""Authorities and certificates of servers and clients, made when the tests run."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


def name_of(common_name, **others):
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    attributes += [x509.NameAttribute(getattr(NameOID, key), value) for key, value in others.items()]
    return x509.Name(attributes)


class Authority:
    """Signs; `certificate` is its root."""

    def __init__(self, name):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = name_of(name)
        self.certificate = self.sign(self.name, self.key, authority=True)

    def sign(
        self, subject, key, names=(), usage=None, *, authority=False, age=DAY, lifetime=3 * DAY, more=()
    ):
        begin = datetime.datetime.now(datetime.UTC) - age
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + lifetime)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(list(names)), critical=False)
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        for extension in more:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256())


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key):
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def write_self_signed(folder, *names):
    """Write tls.crt and tls.key of a server that is its own authority; a name may be an address."""
    authority = Authority(names[0])
    alternatives = []
    for name in names:
        try:
            alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            alternatives.append(x509.DNSName(name))
    certificate = authority.sign(authority.name, authority.key, alternatives)
    (folder / "tls.crt").write_bytes(pem(certificate))
    (folder / "tls.key").write_bytes(key_pem(authority.key))


def write_client(path, authority, name, *, key=None, **settings):
    """Write a client's certificate and key, one behind the other; returns the certificate."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    names = [
        x509.DNSName(f"{name}.test"),
        x509.DNSName("second.test"),
        x509.RFC822Name("me@client.test"),
        x509.IPAddress(ipaddress.ip_address("10.1.2.3")),
        x509.UniformResourceIdentifier("spiffe://client.test/x"),
    ]
    subject = name_of(name, ORGANIZATION_NAME="Client, Inc.", COUNTRY_NAME="DE", EMAIL_ADDRESS="me@a.test")
    usage = ExtendedKeyUsageOID.CLIENT_AUTH
    certificate = authority.sign(subject, key, names, usage, **settings)
    path.write_bytes(pem(certificate) + key_pem(key))
    return certificate


def write_certificates(folder):
    """Write all that the Caddyfile and the clients of these tests name."""
    ours, others = Authority("ours"), Authority("others")
    (folder / "ca.pem").write_bytes(pem(ours.certificate))
    write_client(folder / "good.pem", ours, "good")
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    write_client(folder / "rsa.pem", ours, "rsa", key=rsa_key)
    write_client(folder / "stranger.pem", others, "stranger")
    write_client(folder / "expired.pem", ours, "expired", age=3 * DAY, lifetime=2 * DAY)
    leaf = write_client(folder / "leaf.pem", others, "leaf")
    (folder / "leaf.crt").write_bytes(pem(leaf))
    server = ec.generate_private_key(ec.SECP256R1())
    names = [x509.DNSName("*.test"), x509.DNSName("*.wild.test")]
    certificate = ours.sign(name_of("server"), server, names, ExtendedKeyUsageOID.SERVER_AUTH)
    (folder / "server.pem").write_bytes(pem(certificate))
    (folder / "server.key").write_bytes(key_pem(server))
    return ours
