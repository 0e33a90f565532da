"""TLS while things change: certificates, policies, and the engine itself.

Needs the engine's binary (`make setup`, or ZEROSERVE_ENGINE); without it these tests fail.
"""

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from ports import free_port
from signing import Authority, key_pem, name_of, pem
from starting import ZEROSERVE, apart, started

PATIENCE_S = 60
CHANGES = 5
CLIENTS = 3
PLAIN = ""
ASKING = "client_auth {\n\t\t\tmode request\n\t\t}"


class Serving:
    """`zeroserve run` of one site, which `serve` changes by `reload`."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.authority = Authority("an authority")
        (folder / "ca.pem").write_bytes(pem(self.authority.certificate))
        self.environment = apart(folder)
        self.write("first", PLAIN)

    def write(self, name, policy):
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName("changing.test")]
        certificate = self.authority.sign(name_of(name), key, names, ExtendedKeyUsageOID.SERVER_AUTH)
        (self.folder / f"{name}.pem").write_bytes(pem(certificate))
        (self.folder / f"{name}.key").write_bytes(key_pem(key))
        tls = f"tls {name}.pem {name}.key {{\n\t\t{policy or 'protocols tls1.2'}\n\t}}"
        site = f"https://changing.test:{self.port} {{\n\tbind 127.0.0.1\n\t{tls}\n\trespond x\n}}\n"
        (self.folder / "Caddyfile").write_text("{\n\tauto_https disable_redirects\n}\n" + site)

    def serve(self, name, policy):
        self.write(name, policy)
        command = [ZEROSERVE, "reload", "--admin", "admin.sock"]
        subprocess.run(command, cwd=self.folder, env=self.environment, check=True, capture_output=True)

    def wait(self):
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(OSError):
                return self.shake_hands()
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail((self.folder / "log").read_text())
            time.sleep(0.05)

    def shake_hands(self, context=None, session=None):
        """Return the name in the certificate, whether the session was resumed, and the session."""
        context = context or self.make_context()
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        with (
            plain,
            context.wrap_socket(plain, server_hostname="changing.test", session=session) as connection,
        ):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: changing.test\r\nConnection: close\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
            (((_, name),),) = connection.getpeercert()["subject"]
            return name, connection.session_reused, connection.session

    def make_context(self):
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        return context

    def kill_engine(self):
        (supervisor,) = children_of(self.process.pid, b"supervise")
        (engine,) = children_of(supervisor, b"serve")
        os.kill(engine, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_S
        while children_of(supervisor, b"serve") in ([], [engine]):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def children_of(pid, command):
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((directory / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and command in (directory / "cmdline").read_bytes().split(b"\0"):
                found.append(int(directory.name))
    return found


@pytest.fixture
def serving(tmp_path):
    found = Serving(tmp_path)
    command = [ZEROSERVE, "run", "--admin", "admin.sock", "--workers", "2"]
    places = found.port, tmp_path / "admin.sock"
    with started(command, tmp_path, *places, environment=found.environment) as found.process:
        yield found


def test_a_session_resumes_in_the_engine_that_follows(serving):
    context = serving.make_context()
    _, _, session = serving.shake_hands(context)
    serving.kill_engine()
    serving.wait()
    assert serving.shake_hands(context, session)[1]


def test_a_session_does_not_resume_under_a_changed_policy(serving):
    context = serving.make_context()
    _, _, session = serving.shake_hands(context)
    assert serving.shake_hands(context, session)[1]
    serving.serve("first", ASKING)
    assert not serving.shake_hands(context, session)[1]
    serving.serve("first", PLAIN)
    assert serving.shake_hands(context, session)[1]


def test_certificates_change_without_a_failed_handshake(serving):
    stopping, failures, seen = threading.Event(), [], set()

    def keep_connecting():
        while not stopping.is_set():
            try:
                seen.add(serving.shake_hands()[0])
            except (OSError, AssertionError) as error:
                failures.append(error)

    threads = [threading.Thread(target=keep_connecting) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    names = [f"certificate-{number}" for number in range(CHANGES)]
    for name in names:
        serving.serve(name, PLAIN)
        assert serving.shake_hands()[0] == name
    stopping.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert names[0] in seen
