"""Records of TLS as no library sends them end their connection by the alert that is due, not the engine."""

import contextlib
import os
import random
import socket
import ssl

import pytest
from ports import free_port
from signing import write_self_signed
from starting import serving

CADDYFILE = """{{
	admin off
	auto_https off
}}
https://localhost:{port} {{
	tls tls.crt tls.key
	respond "hello"
}}
"""
HANDSHAKE, ALERT, CHANGE_CIPHER_SPEC, DATA = 22, 21, 20, 23
FATAL, HANDSHAKE_FAILURE = 2, 40
SIGNATURE_ALGORITHMS, DSA_WITH_SHA1 = 13, b"\x02\x02"
SEED = 20261122


def record(kind, body, version=b"\x03\x03"):
    return bytes([kind]) + version + len(body).to_bytes(2) + body


def make_context():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def hello(version=ssl.TLSVersion.TLSv1_3):
    """Return the handshake message of a ClientHello, without its record's head."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = make_context()
    context.maximum_version = version
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()[5:]


HELLO = hello()
BEHIND = {
    "data": record(DATA, b"data"),
    "an alert": record(ALERT, b"\x02\x28"),
    "a change of cipher": record(CHANGE_CIPHER_SPEC, b"\x01"),
    "an unknown kind": record(99, b"?"),
    "a record too large": record(HANDSHAKE, b"x" * 20_000),
    "text": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an empty record": record(HANDSHAKE, b""),
    "another hello": record(HANDSHAKE, HELLO),
    "a message too long": record(HANDSHAKE, b"\x01\xff\xff\xff" + b"x" * 100),
}


@pytest.fixture(scope="module", params=["io_uring", "epoll"])
def served(request, tmp_path_factory):
    """The port, and what lists the processes of the server."""
    folder, port = tmp_path_factory.mktemp("records"), free_port()
    write_self_signed(folder, "localhost")
    (folder / "Caddyfile").write_text(CADDYFILE.format(port=port))
    with serving(folder, port, options=("--io", request.param)) as process:
        yield port, lister_of(os.getsid(process.pid))


def lister_of(session):
    """Return a function that lists the processes of a session."""

    def list_processes():
        found = set()
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.getsid(int(name)) == session:
                    found.add(int(name))
        return found

    return list_processes


def send(port, wire):
    """Send bytes, end our side, and read what comes until the server ends its own."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as connection,
        contextlib.suppress(ConnectionError),
    ):
        connection.sendall(wire)
        # The server may have ended its side by now.
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass


def find_extension(message, kind):
    """Return where the content of a ClientHello's extension begins."""
    session = 4 + 2 + 32
    suites = session + 1 + message[session]
    compressions = suites + 2 + int.from_bytes(message[suites : suites + 2])
    at = compressions + 1 + message[compressions] + 2
    while int.from_bytes(message[at : at + 2]) != kind:
        at += 4 + int.from_bytes(message[at + 2 : at + 4])
    return at + 4


def assert_serves(port):
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
        make_context().wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
def test_half_a_hello_and_something_else_end_a_connection_only(served, behind):
    port, processes = served
    before = processes()
    for cut in (1, 4, 5, 60, len(HELLO) - 1):
        send(port, record(HANDSHAKE, HELLO[:cut]) + behind)
        send(port, record(HANDSHAKE, HELLO[:cut]))
    assert_serves(port)
    assert processes() == before


def test_mutated_hellos_end_a_connection_only(served):
    port, processes = served
    before, chance = processes(), random.Random(SEED)
    for _ in range(300):
        wire = bytearray()
        rest = bytearray(HELLO)
        for _ in range(chance.randrange(6)):
            rest[chance.randrange(len(rest))] = chance.randrange(256)
        while rest:
            size = chance.randrange(1, len(rest) + 1)
            kind = HANDSHAKE if chance.random() < 0.9 else chance.randrange(256)
            wire += record(kind, bytes(rest[:size]))
            del rest[:size]
        send(port, bytes(wire))
    assert_serves(port)
    assert processes() == before


class Client:
    """A client of one version that may keep its Finished back, and tells the alert that it got."""

    def __init__(self, port, version):
        context = make_context()
        context.minimum_version = context.maximum_version = version
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=60)

    def shake_hands(self, *, finish):
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.connection.sendall(self.outgoing.read())
                self.incoming.write(self.connection.recv(65536))
        if finish:
            self.connection.sendall(self.outgoing.read())

    def provoke(self, wire):
        """Send bytes; returns the name of the alert that ends the session."""
        with self.connection, contextlib.suppress(ConnectionError):
            self.connection.sendall(wire)
            while data := self.connection.recv(65536):
                self.incoming.write(data)
        self.incoming.write_eof()
        try:
            while self.tls.read():
                pass
        except ssl.SSLError as error:
            return error.reason
        return "nothing"


UNEXPECTED, OVERFLOW, BAD_MAC = (
    "SSLV3_ALERT_UNEXPECTED_MESSAGE",
    "TLSV1_ALERT_RECORD_OVERFLOW",
    "SSLV3_ALERT_BAD_RECORD_MAC",
)
HEARTBEAT = 24
PROTECTED = {
    "garbage": (record(DATA, b"x" * 100), BAD_MAC),
    "more than a ciphertext may have": (record(DATA, b"x" * (16384 + 257)), OVERFLOW),
    "a message in the clear": (record(HANDSHAKE, b"\x14\0"), UNEXPECTED),
    "a heartbeat": (record(HEARTBEAT, b"?"), UNEXPECTED),
}


@pytest.mark.parametrize("finish", [False, True], ids=["in the handshake", "after it"])
@pytest.mark.parametrize(("wire", "alert"), PROTECTED.values(), ids=PROTECTED)
def test_a_record_that_fails_under_keys_of_tls_1_3_is_named_under_them(served, wire, alert, finish):
    client = Client(served[0], ssl.TLSVersion.TLSv1_3)
    client.shake_hands(finish=finish)
    assert client.provoke(wire) == alert


def test_changes_of_cipher_without_end_are_refused_under_the_keys(served):
    client = Client(served[0], ssl.TLSVersion.TLSv1_3)
    client.shake_hands(finish=False)
    assert client.provoke(record(CHANGE_CIPHER_SPEC, b"\x01") * 3) == UNEXPECTED


@pytest.mark.parametrize(
    ("wire", "alert"),
    [(record(DATA, b"x" * 100), BAD_MAC), (record(HEARTBEAT, b"?"), UNEXPECTED)],
    ids=["garbage", "a heartbeat"],
)
def test_a_record_that_fails_under_keys_of_tls_1_2_is_named_under_them(served, wire, alert):
    client = Client(served[0], ssl.TLSVersion.TLSv1_2)
    client.shake_hands(finish=True)
    assert client.provoke(wire) == alert


def test_a_hello_of_tls_1_2_without_a_signature_scheme_in_common_is_a_failed_handshake(served):
    message = bytearray(hello(ssl.TLSVersion.TLSv1_2))
    schemes = find_extension(message, SIGNATURE_ALGORITHMS)
    count = int.from_bytes(message[schemes : schemes + 2]) // 2
    message[schemes + 2 : schemes + 2 + 2 * count] = DSA_WITH_SHA1 * count
    with socket.create_connection(("127.0.0.1", served[0]), timeout=60) as connection:
        connection.sendall(record(HANDSHAKE, bytes(message)))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer == record(ALERT, bytes([FATAL, HANDSHAKE_FAILURE]))
