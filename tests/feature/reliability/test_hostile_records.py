"""Records of TLS as no library sends them: the connection ends, the engine does not."""

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
SEED = 20261122


def record(kind, body, version=b"\x03\x03"):
    return bytes([kind]) + version + len(body).to_bytes(2) + body


def make_context():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def hello():
    """Return the handshake message of a ClientHello, without its record's head."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = make_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
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
