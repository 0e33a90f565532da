"""Streams that stall, in either direction: each is ended by itself, and its connection serves on."""

import concurrent.futures
import contextlib
import time

import pytest
from framing import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    RST_STREAM,
    WHOLE,
    WINDOW_UPDATE,
    Client,
    frame,
    get,
    post,
)
from ports import free_ports
from signing import write_self_signed
from sizing import memory_kib
from starting import serving
from stream_sites import served

# Two windows of 15 s judge a stream; a loaded machine may take longer to say so.
PATIENCE_S = 90
CLOSED_WINDOWS = b"\0\4\0\0\0\0"
LONG = "/size/131072"
POST = post("/echo")
FILES = """{{
	admin off
	auto_https off
}}
https://localhost:{tls} {{
	tls tls.crt tls.key
	handle_path /kept/* {{
		cache 1h
		reverse_proxy 127.0.0.1:{files}
	}}
	file_server
}}
http://:{files} {{
	file_server
}}
"""
GET = frame(HEADERS, WHOLE, 1, get(LONG))


def until_reset(client, piece=b""):
    """Read until stream 1 is reset, sending a piece each second; return the kinds of its frames."""
    kinds, deadline = [], time.monotonic() + PATIENCE_S
    client.socket.settimeout(1)
    while time.monotonic() < deadline:
        with contextlib.suppress(TimeoutError):
            found = client.read()
            assert found is not None, "the connection ended"
            if found[2] == 1:
                kinds.append(found[0])
            if found[0] == RST_STREAM:
                return kinds
            continue
        client.send(piece)
    raise AssertionError(f"nothing ended it: {kinds}")


def assert_serves(client):
    """A request of the same connection is answered, whatever windows it has."""
    client.socket.settimeout(PATIENCE_S)
    client.send(
        frame(HEADERS, WHOLE, 3, get("/static")),
        frame(WINDOW_UPDATE, 0, 3, b"\0\1\0\0"),
        frame(PING, 0, 0, b"12345678"),
    )
    assert client.read_until(DATA, 3)[1] == b"hello"


def closed_window(site):
    client = Client(site.port, CLOSED_WINDOWS)
    client.send(GET)
    kinds = until_reset(client)
    assert kinds == [HEADERS, RST_STREAM]
    return client


def window_that_opens_by_bytes(site):
    client = Client(site.port, CLOSED_WINDOWS)
    client.send(GET)
    kinds = until_reset(client, frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"))
    assert DATA in kinds
    return client


def end_of_an_answer_that_is_not_taken(site):
    """The upstream is done, the last bytes wait."""
    client = Client(site.port, CLOSED_WINDOWS)
    client.send(frame(HEADERS, WHOLE, 1, get("/size/100")))
    until_reset(client)
    return client


def body_that_never_comes(site):
    client = Client(site.port)
    client.send(frame(HEADERS, END_HEADERS, 1, POST))
    assert until_reset(client) == [HEADERS, RST_STREAM]
    return client


def body_that_dribbles(site):
    client = Client(site.port)
    client.send(frame(HEADERS, END_HEADERS, 1, POST))
    assert until_reset(client, frame(DATA, 0, 1, b"x")) == [HEADERS, RST_STREAM]
    return client


STALLS = (
    closed_window,
    window_that_opens_by_bytes,
    end_of_an_answer_that_is_not_taken,
    body_that_never_comes,
    body_that_dribbles,
)


def test_every_stalled_stream_is_reset_and_its_connection_serves_on(site):
    def stall(one):
        assert_serves(one(site))

    with concurrent.futures.ThreadPoolExecutor(len(STALLS)) as pool:
        results = {one.__name__: pool.submit(stall, one) for one in STALLS}
    assert {name: result.exception() for name, result in results.items()} == dict.fromkeys(results)


def assert_holds_little(port, session, path, memory_kib_max):
    """1,000 streams on 10 connections, window 0, a mebibyte each."""
    before = memory_kib(session)
    clients = [Client(port, CLOSED_WINDOWS) for _ in range(10)]
    for client in clients:
        client.socket.settimeout(PATIENCE_S)
        client.send(*(frame(HEADERS, WHOLE, 2 * n + 1, get(path)) for n in range(100)))
    for client in clients:
        heads = 0
        while heads < 100:
            found = client.read()
            assert found is not None, "the connection ended"
            heads += found[0] == HEADERS
    assert memory_kib(session) - before <= memory_kib_max
    # Its windows open: every byte comes.
    client = clients[0]
    client.send(frame(WINDOW_UPDATE, 0, 0, b"\1\0\0\0"), frame(WINDOW_UPDATE, 0, 1, b"\0\x20\0\0"))
    got = 0
    while got < 1 << 20:
        found = client.read()
        assert found is not None, "the connection ended"
        got += len(found[3]) if found[0] == DATA else 0
    assert got == 1 << 20


@pytest.mark.parametrize("backend", ["io_uring", "epoll"])
def test_answers_of_http2_upstreams_that_nobody_takes_hold_little(tmp_path, backend):
    with served(tmp_path, options=("--io", backend)) as site:
        assert_holds_little(site.tls, site.session, "/big", 40 << 10)


@pytest.mark.parametrize("path", ["/file", "/kept/file"])
def test_files_and_kept_answers_that_nobody_takes_hold_little(tmp_path, path):
    write_self_signed(tmp_path, "localhost", "127.0.0.1")
    tls, files = free_ports(2)
    (tmp_path / "file").write_bytes(b"x" * (1 << 20))
    (tmp_path / "Caddyfile").write_text(FILES.format(tls=tls, files=files))
    with serving(tmp_path, tls) as process:
        # The file is in the kernel's memory, the kept answer in ours.
        client = Client(tls)
        client.socket.settimeout(PATIENCE_S)
        client.send(
            frame(WINDOW_UPDATE, 0, 0, b"\1\0\0\0"),
            frame(HEADERS, WHOLE, 1, get(path)),
            frame(WINDOW_UPDATE, 0, 1, b"\0\x20\0\0"),
        )
        while not client.read_until(DATA, 1)[0] & END_STREAM:
            pass
        assert_holds_little(tls, process.pid, path, 33 << 10)
