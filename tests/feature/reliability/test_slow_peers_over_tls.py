"""Slow clients of a port with TLS: whichever part of a handshake or a record stays out, it ends; others are
served."""

import concurrent.futures
import contextlib
import socket
import ssl
import time

import pytest
from ports import free_port
from signing import write_self_signed
from starting import serving

# The promise is 30 s; a loaded machine may take longer to say so, an endless wait is longer than this.
PATIENCE_S = 90
PER_KIND = 8
CADDYFILE = """{{
	admin off
	auto_https off
}}
https://:{port} {{
	tls {folder}/tls.crt {folder}/tls.key
	respond "hello"
}}
"""
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def make_context():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Connection:
    """TLS by hand: what the library wants to send is in `outgoing`, and is sent as the test likes."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = make_context().wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def hello(self):
        """Return the ClientHello, not sent yet."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()

    def shake_hands(self):
        """Complete the handshake but for the client's last flight, which is returned."""
        self.socket.sendall(self.hello())
        while True:
            if not (received := self.socket.recv(65536)):
                raise EOFError("the server closed in the handshake")
            self.incoming.write(received)
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
                return self.outgoing.read()

    def seal(self, data):
        """Return records with this content, not sent yet."""
        self.tls.write(data)
        return self.outgoing.read()

    def await_end(self):
        """Return once the server ended the connection."""
        with contextlib.suppress(ConnectionResetError):
            while self.socket.recv(65536):
                pass

    def dribble(self, data):
        """Send one byte at a time until all is sent or the server ends the connection."""
        self.socket.settimeout(0.4)
        for byte in data:
            try:
                self.socket.sendall(bytes([byte]))
                if not self.socket.recv(65536):
                    return
            except TimeoutError:
                continue
            except ConnectionError:
                return
        raise AssertionError("all bytes were taken")


def nothing(connection):
    connection.await_end()


def half_a_hello(connection):
    hello = connection.hello()
    connection.socket.sendall(hello[: len(hello) // 2])
    connection.await_end()


def a_hello_byte_by_byte(connection):
    connection.dribble(connection.hello())


def no_last_flight(connection):
    connection.shake_hands()
    connection.await_end()


def half_a_record(connection):
    connection.socket.sendall(connection.shake_hands())
    record = connection.seal(REQUEST)
    connection.socket.sendall(record[: len(record) // 2])
    connection.await_end()


def a_record_byte_by_byte(connection):
    connection.socket.sendall(connection.shake_hands())
    connection.dribble(connection.seal(REQUEST))


def a_request_in_records_of_a_byte(connection):
    connection.socket.sendall(connection.shake_hands())
    connection.dribble(b"".join(connection.seal(bytes([byte])) for byte in REQUEST))


KINDS = (
    nothing,
    half_a_hello,
    a_hello_byte_by_byte,
    no_last_flight,
    half_a_record,
    a_record_byte_by_byte,
    a_request_in_records_of_a_byte,
)


@pytest.fixture(scope="module", params=["io_uring", "epoll"])
def port(request, tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("slow-tls"), free_port()
    write_self_signed(folder, "localhost")
    (folder / "Caddyfile").write_text(CADDYFILE.format(port=port, folder=folder))
    with serving(folder, port, options=("--io", request.param)):
        yield port


def is_served(port):
    """Whether a client that does not stall is answered; a machine that stands still makes it stall too."""
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as plain,
            make_context().wrap_socket(plain, server_hostname="localhost") as other,
        ):
            other.sendall(REQUEST)
            return other.recv(4096).startswith(b"HTTP/1.1 200")
    except (ssl.SSLEOFError, ConnectionError):
        return False


def test_every_way_to_stall_over_tls_ends_and_nobody_else_waits(port):
    def stall(kind):
        deadline = time.monotonic() + PATIENCE_S
        while True:
            connection = Connection(port)
            with connection.socket:
                try:
                    return kind(connection)
                except (EOFError, ConnectionError):
                    # On a machine that stands still a handshake may be late before its part stays out.
                    assert time.monotonic() < deadline

    with concurrent.futures.ThreadPoolExecutor(PER_KIND * len(KINDS)) as pool:
        stalls = {pool.submit(stall, kind): kind.__name__ for kind in KINDS for _ in range(PER_KIND)}
        left, deadline = set(stalls), time.monotonic() + PATIENCE_S
        while left:
            assert time.monotonic() < deadline, sorted({stalls[one] for one in left})
            while not is_served(port):
                assert time.monotonic() < deadline
            left = concurrent.futures.wait(left, timeout=0.5).not_done
    assert [stalls[one] for one in stalls if one.exception()] == []
