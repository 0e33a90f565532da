"""Interim answers of upstreams: 103 goes on to clients of either protocol, 100 does not."""

import contextlib
import socket

import pytest
from framing import HEADERS, WHOLE, Client, frame, get
from stream_backends import CONTINUE, HINTS, HINTS_BEFORE
from stream_sites import TIMEOUT_S, served


@pytest.fixture(scope="module")
def behind(tmp_path_factory):
    """In front of an upstream of HTTP/2."""
    with served(tmp_path_factory.mktemp("hints")) as found:
        yield found


def read_all(port, minor, path="/hints"):
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), TIMEOUT_S)) as client:
        request = f"GET {path} HTTP/1.{minor}\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        client.sendall(request.encode())
        return b"".join(iter(lambda: client.recv(4096), b""))


def read_heads(client):
    """The blocks of the answer's heads, interim ones first."""
    client.send(frame(HEADERS, WHOLE, 1, get("/hints")))
    heads = []
    while not heads or heads[-1].startswith(b"\x08"):
        heads.append(client.read_until(HEADERS, 1)[1])
    return heads


def test_hints_of_http2_reach_a_client_of_http1(behind):
    lines = read_all(behind.port, 1)
    assert lines.count(b"HTTP/1.1 103 Early Hints\r\nlink: </style>\r\n\r\n") == HINTS_BEFORE
    assert lines.count(b"HTTP/1.1 ") == HINTS_BEFORE + 1 and b"HTTP/1.1 200 OK" in lines


def test_hints_of_http2_reach_a_client_of_http2(behind):
    *interim, _ = read_heads(Client(behind.tls))
    assert [head[:5] for head in interim] == [HINTS[:5]] * HINTS_BEFORE
    assert all(b"</style>" in head for head in interim)


def test_hints_of_http1_reach_a_client_of_http2(site):
    (interim, _) = read_heads(Client(site.port))
    assert interim[:5] == HINTS[:5] and b"</style>" in interim


def test_a_client_of_http10_gets_none(behind):
    answer = read_all(behind.port, 0)
    assert answer.startswith(b"HTTP/1.") and answer[8:13] == b" 200 " and b"103" not in answer


def test_100_of_an_upstream_stays_between_it_and_us(behind):
    assert b" 100 " not in read_all(behind.port, 1)
    assert CONTINUE not in read_heads(Client(behind.tls))


def test_more_than_anybody_sends_is_a_502(behind):
    assert b"HTTP/1.1 502 " in read_all(behind.port, 1, "/many")
    assert behind.get("/ok") == (200, b"ok")
