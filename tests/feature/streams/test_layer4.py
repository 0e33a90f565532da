"""`layer4` over real sockets: TLS by server name, TCP, TLS that ends here; sites beside it go on.

Needs the engine's binary (`make setup`, or ZEROSERVE_ENGINE); without it these tests fail.
"""

import contextlib
import datetime
import http.client
import os
import socket
import socketserver
import ssl
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from ports import free_ports
from signing import Authority, key_pem, name_of, pem
from starting import apart, serving
from threads import served

PATIENCE_S = 60
LARGE = 3 << 20
CADDYFILE = """\
{{
	admin off
	auto_https disable_redirects
	layer4 {{
		127.0.0.1:{shared} {{
			@inner tls sni inner.test *.many.test
			route @inner {{
				proxy 127.0.0.1:{secure}
			}}
		}}
		127.0.0.1:{plain} {{
			route {{
				proxy 127.0.0.1:{dead} 127.0.0.1:{echo}
			}}
		}}
		127.0.0.1:{ended} {{
			route {{
				tls
				proxy 127.0.0.1:{greeter} {{
					proxy_protocol v1
				}}
			}}
		}}
		127.0.0.1:{named} {{
			@one tls sni one.test
			route @one {{
				proxy 127.0.0.1:{secure}
			}}
		}}
	}}
}}

https://site.test:{shared} {{
	bind 127.0.0.1
	tls internal
	respond "a site"
}}
"""


class Echo(socketserver.BaseRequestHandler):
    """Sends back what comes, to its end."""

    def handle(self):
        with contextlib.suppress(ConnectionError):
            while data := self.request.recv(65536):
                self.request.sendall(data)


class Greeter(socketserver.BaseRequestHandler):
    """Speaks first; says what the PROXY header was."""

    def handle(self):
        header = self.request.makefile("rb").readline()
        self.request.sendall(b"hello after " + header)


class Secure(socketserver.BaseRequestHandler):
    """Ends TLS itself, and says what name was asked for."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def handle(self):
        with contextlib.suppress(OSError), self.context.wrap_socket(self.request, server_side=True) as inner:
            inner.sendall(b"inner " + inner.recv(100))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@contextlib.contextmanager
def listening(handler):
    with served(Server(("127.0.0.1", 0), handler)) as server:
        yield server.server_address[1]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inner")
    made = Authority("inner authority")
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.DNSName(name) for name in ("inner.test", "a.many.test", "one.test")]
    certificate = made.sign(name_of("inner"), key, names, lifetime=datetime.timedelta(days=5))
    (folder / "inner.pem").write_bytes(pem(certificate) + key_pem(key))
    (folder / "ca.pem").write_bytes(pem(made.certificate))
    Secure.context.load_cert_chain(folder / "inner.pem")
    return folder / "ca.pem"


@pytest.fixture(scope="module", params=["io_uring", "epoll"])
def ports(request, tmp_path_factory, authority):
    """Ports of what is served, by name."""
    folder = tmp_path_factory.mktemp("zeroserve")
    names = ("shared", "plain", "ended", "named", "dead")
    found = dict(zip(names, free_ports(len(names)), strict=True))
    with contextlib.ExitStack() as stack:
        for name, handler in (("echo", Echo), ("greeter", Greeter), ("secure", Secure)):
            found[name] = stack.enter_context(listening(handler))
        (folder / "Caddyfile").write_text(CADDYFILE.format(**found))
        stack.enter_context(
            serving(folder, found["plain"], options=("--io", request.param), environment=apart(folder))
        )
        yield found


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def read_all(connection):
    data = b""
    while piece := connection.recv(65536):
        data += piece
    return data


@pytest.mark.parametrize("name", ["inner.test", "a.many.test"])
def test_tls_passes_through_by_its_server_name(ports, authority, name):
    context = ssl.create_default_context(cafile=authority)
    with context.wrap_socket(connect(ports["shared"]), server_hostname=name) as connection:
        connection.sendall(b"bytes")
        assert read_all(connection) == b"inner bytes"


def test_a_client_hello_in_pieces_finds_its_upstream(ports, authority):
    context = ssl.create_default_context(cafile=authority)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname="inner.test")
    with connect(ports["shared"]) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with pytest.raises(ssl.SSLWantReadError):
            session.do_handshake()
        hello = outgoing.read()
        for at in range(0, len(hello), 50):
            connection.sendall(hello[at : at + 50])
            time.sleep(0.005)
        while True:
            incoming.write(connection.recv(65536))
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                pass
        assert session.getpeercert()["subject"] == ((("commonName", "inner"),),)


def test_sites_beside_streams_are_served(ports):
    context = ssl._create_unverified_context()
    with context.wrap_socket(connect(ports["shared"]), server_hostname="site.test") as connection:
        for host, status in ((f"site.test:{ports['shared']}", 200), ("inner.test", 421)):
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            reply = http.client.HTTPResponse(connection)
            reply.begin()
            reply.read()
            assert reply.status == status


def test_tcp_passes_whatever_its_size_and_ends_side_by_side(ports):
    sent = os.urandom(LARGE)
    with connect(ports["plain"]) as connection:

        def send():
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)

        sending = threading.Thread(target=send)
        sending.start()
        received = read_all(connection)
        sending.join()
    assert received == sent


def test_an_upstream_that_refuses_is_passed_over(ports):
    for _ in range(8):
        with connect(ports["plain"]) as connection:
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"


def test_tls_ends_here_and_the_upstream_may_speak_first(ports):
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with context.wrap_socket(connect(ports["ended"]), server_hostname="any.test") as connection:
        port = connection.getsockname()[1]
        greeting = read_all(connection)
    assert greeting.startswith(b"hello after PROXY TCP4 127.0.0.1 ") and str(port).encode() in greeting


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x02\x01\x00"])
def test_what_no_route_takes_is_closed(ports, first):
    with connect(ports["named"]) as connection:
        connection.sendall(first)
        with contextlib.suppress(ConnectionResetError):
            connection.settimeout(PATIENCE_S)
            assert b"HTTP" not in read_all(connection)


def test_another_name_is_closed(ports):
    context = ssl._create_unverified_context()
    with pytest.raises(OSError):
        context.wrap_socket(connect(ports["named"]), server_hostname="two.test")
