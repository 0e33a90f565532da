"""Stock Caddy and `zeroserve run`, each serving all cases from one Caddyfile."""

import contextlib
import datetime
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import bcrypt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from ports import free_ports

sys.path.insert(0, str(Path(__file__).parent))

from backends import backend, closing_backend
from tables import CASES, case_names
from trees import make_tree

BIN = Path(sys.executable).parent
START_TIMEOUT_S = 60
HEAD = "{\n\tadmin off\n\tauto_https off\n}\n"


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


class Server:
    """A server of all cases; `port(case, tls)` is where a case answers."""

    def __init__(self, name, command, folder, variables):
        self.name = name
        self.folder = folder
        names = case_names()
        ports = free_ports(2 * len(names))
        self.ports = dict(zip(names, zip(ports[::2], ports[1::2], strict=True), strict=True))
        texts = [HEAD]
        for case, (plain, tls) in self.ports.items():
            text = (CASES / f"{case}.caddyfile").read_text()
            for variable, value in {**variables, "PORT": plain, "TLS_PORT": tls}.items():
                text = text.replace(f"{{${variable}}}", str(value))
            texts.append(text)
        (folder / "Caddyfile").write_text("\n".join(texts))
        self.log = (folder / "log").open("wb")
        environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "PATH": os.environ["PATH"]}
        environment |= {name: value for name, value in os.environ.items() if name == "ZEROSERVE_ENGINE"}
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=self.log, stderr=self.log, start_new_session=True
        )

    def port(self, case, tls):
        return self.ports[case][tls]

    def wait(self):
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{self.name} does not serve:\n{(self.folder / 'log').read_text()}")
            with contextlib.suppress(OSError):
                for plain, _ in self.ports.values():
                    socket.create_connection(("127.0.0.1", plain), timeout=1).close()
                return
            time.sleep(0.05)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=20)
        finally:
            self.log.close()


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
            "DEAD": free_ports(1)[0],
            "CERTIFICATE": folder / "tls.crt",
            "KEY": folder / "tls.key",
            "SITE": site,
            "HASH": bcrypt.hashpw(b"open sesame", bcrypt.gensalt(4)).decode(),
        }


@pytest.fixture(scope="session")
def servers(tmp_path_factory, variables):
    """Both servers, serving: (stock Caddy, ours)."""
    caddy = [BIN / "caddy", "run", "--adapter", "caddyfile", "--config", "Caddyfile"]
    ours = [BIN / "zeroserve", "run", "--config", "Caddyfile", "--admin", "off", "--workers", "1"]
    started = []
    try:
        for name, command in (("caddy", caddy), ("zeroserve", ours)):
            started.append(Server(name, command, tmp_path_factory.mktemp(name), variables))
        for server in started:
            server.wait()
        yield started
    finally:
        for server in started:
            server.end()
