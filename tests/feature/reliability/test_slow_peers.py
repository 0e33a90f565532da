"""Slow clients: every way to stall ends, while others are served."""

import contextlib
import socket
import threading
import time

from conftest import statuses

# The promise is 30 s; a loaded machine may take longer to say so, an endless wait is longer than this.
PATIENCE_S = 60
PER_KIND = 40


def dribble(connection, piece, ended):
    """Send a byte each second until the peer ends the connection."""
    with contextlib.suppress(OSError):
        while not ended.wait(1):
            connection.sendall(piece)


KINDS = {
    "nothing after connecting": (b"", b""),
    "a head that dribbles": (b"GET / HTTP/1.1\r\nHost: a.example\r\n", b"X"),
    "a body that dribbles": (b"POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100000\r\n\r\n", b"x"),
    "a body that never comes": (
        b"POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100000\r\n\r\n",
        b"",
    ),
    "half a chunk": (
        b"POST /a HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nabc",
        b"",
    ),
}
LONG = b"x" * (32 << 20)
"""More than buffers of ours and of two kernels hold."""


def wait_for_end(site, first, piece, left):
    """Stall in one way; take itself off the list when the server ended it."""
    ended = threading.Event()
    with socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE_S) as connection:
        connection.sendall(first)
        if piece:
            threading.Thread(target=dribble, args=(connection, piece, ended), daemon=True).start()
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(4096):
                pass
        ended.set()
    left.pop()


def test_every_way_to_stall_ends_and_nobody_else_waits(site):
    left = {kind: [None] * PER_KIND for kind in KINDS}
    clients = [
        threading.Thread(target=wait_for_end, args=(site, *KINDS[kind], left[kind]), daemon=True)
        for kind in KINDS
        for _ in range(PER_KIND)
    ]
    for client in clients:
        client.start()
    while any(client.is_alive() for client in clients):
        payload = b"GET /static HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
        assert statuses(site.send(payload)) == [200]
        clients[0].join(0.2)
        clients = [client for client in clients if client.is_alive()] or clients[:1]
    assert {kind: len(rest) for kind, rest in left.items()} == dict.fromkeys(KINDS, 0)


def test_a_client_that_does_not_read_its_answer_is_ended(site):
    site.recorder.answers["/long"] = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LONG) + LONG
    with contextlib.closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(PATIENCE_S)
        connection.connect(("127.0.0.1", site.port))
        connection.sendall(b"GET /long HTTP/1.1\r\nHost: a.example\r\n\r\n")
        deadline = time.monotonic() + PATIENCE_S
        while not site.recorder.cut:
            assert time.monotonic() < deadline, "nobody ended it"
            time.sleep(0.1)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(1 << 20):
                received += len(data)
    assert received < len(LONG)
