"""WebSockets to upstreams that speak HTTP/2: RFC 8441 without TLS, HTTP/1.1 over TLS as Go's client does."""

import contextlib
import socket

import pytest
from framing import DATA, END_HEADERS, END_STREAM, HEADERS, Client, block, frame
from stream_backends import CANCEL
from stream_sites import TIMEOUT_S, served

# RFC 6455 1.3.
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
)
LONG = bytes(300_000)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with served(tmp_path_factory.mktemp("websockets"), websockets=True) as site:
        yield site


@pytest.fixture
def site(running):
    yield running
    running.backend.restart()


@contextlib.contextmanager
def asking(site, path="/echo", early=b""):
    """A client that sent its request; its socket and reader."""
    with (
        contextlib.closing(socket.create_connection(("127.0.0.1", site.port), TIMEOUT_S)) as client,
        client.makefile("rb") as reader,
    ):
        client.sendall(REQUEST.replace("{path}", path).encode() + early)
        yield client, reader


def read_head(reader):
    return b"".join(iter(lambda: reader.readline().strip() + b"\n", b"\n"))


def test_a_client_of_http1_gets_101_and_its_bytes_pass_both_ways(site):
    with asking(site) as (client, reader):
        head = read_head(reader)
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\n")
        assert b"Sec-WebSocket-Accept: " + ACCEPT in head
        for data in (b"one", LONG):
            client.sendall(data)
            assert reader.read(len(data)) == data
        client.shutdown(socket.SHUT_WR)
        assert reader.read() == b""


def test_the_upstream_gets_extended_connect_without_the_key(site):
    with asking(site) as (_, reader):
        read_head(reader)
        (connection,) = site.backend.connections
        (sent,) = connection.sockets.values()
        assert b"CONNECT" in sent and b":protocol" in sent and b"websocket" in sent
        assert b"sec-websocket-version" in sent
        assert b"sec-websocket-key" not in sent and b"upgrade" not in sent


def test_a_client_of_http2_gets_200_and_its_bytes_pass_both_ways(site):
    client = Client(site.tls)
    fields = {"scheme": "https", "path": "/echo", "authority": "localhost", "protocol": "websocket"}
    client.send(frame(HEADERS, END_HEADERS, 1, block(method="CONNECT", **fields)))
    head = client.read_until(HEADERS, 1)[1]
    assert head[:1] == b"\x88" and b"accept" not in head
    client.send(frame(DATA, 0, 1, b"one"))
    assert client.read_until(DATA, 1)[1] == b"one"
    client.send(frame(DATA, END_STREAM, 1))
    assert client.read_until(DATA, 1) == (END_STREAM, b"")


def test_it_shares_its_connection_with_requests(site):
    assert site.get("/ok") == (200, b"ok")
    with asking(site) as (_, reader):
        read_head(reader)
        assert site.get("/ok") == (200, b"ok")
        assert [connection.opened for connection in site.backend.connections] == [3]


def test_routes_of_handle_response_see_it_as_a_switch_and_may_refuse_it(site):
    with asking(site, "/echo/refused", b"one") as (_, reader):
        assert read_head(reader).startswith(b"HTTP/1.1 403 ")
    site.backend.wait(lambda backend: backend.counts() == [0])
    (connection,) = site.backend.connections
    assert list(connection.resets.values()) == [CANCEL]
    assert site.get("/ok") == (200, b"ok")


def test_what_routes_of_handle_response_let_pass_is_a_switch(site):
    with asking(site, "/echo/copied", b"one") as (client, reader):
        head = read_head(reader)
        assert head.startswith(b"HTTP/1.1 101 ") and b"Sec-WebSocket-Accept: " + ACCEPT in head
        assert reader.read(3) == b"one"
        client.sendall(LONG)
        assert reader.read(len(LONG)) == LONG
        client.shutdown(socket.SHUT_WR)
        assert reader.read() == b""


def test_a_client_that_leaves_resets_its_stream_alone(site):
    with asking(site) as (client, reader):
        read_head(reader)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    site.backend.wait(lambda backend: backend.counts() == [0])
    assert list(site.backend.connections[0].resets.values()) == [CANCEL]
    assert site.get("/ok") == (200, b"ok")


def test_an_upstream_that_takes_none_is_a_502(tmp_path):
    with served(tmp_path) as site:
        with asking(site) as (_, reader):
            assert read_head(reader).startswith(b"HTTP/1.1 502 ")
        assert site.get("/ok") == (200, b"ok")


def test_over_tls_it_speaks_http1_and_requests_go_on_by_http2(tmp_path):
    with served(tmp_path, over_tls=True, protocols=("h2", "http/1.1"), websockets=True) as site:
        assert site.get("/ok") == (200, b"ok")
        with asking(site) as (client, reader):
            assert read_head(reader).startswith(b"HTTP/1.1 101 ")
            client.sendall(b"one")
            assert reader.read(3) == b"one"
            assert site.get("/ok") == (200, b"ok")
        assert [connection.opened for connection in site.backend.connections] == [2]
