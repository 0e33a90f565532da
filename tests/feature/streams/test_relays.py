"""Streams of which much passes go through pipes of the kernel (splice), both ways, on both backends.

Needs the engine's binary (`make setup`, or ZEROSERVE_ENGINE); without it these tests fail.
"""

import contextlib
import hashlib
import os
import random
import socket
import socketserver
import threading
import time
from pathlib import Path

import pytest
from ports import free_ports
from starting import apart, serving
from threads import served

PATIENCE_S = 60
LARGE = 48 << 20
PIECE = os.urandom(1 << 20)
SEED = 20261122
CADDYFILE = """\
{{
	admin off
	layer4 {{
		127.0.0.1:{port} {{
			route {{
				proxy 127.0.0.1:{peer}
			}}
		}}
	}}
}}
"""


class Peer(socketserver.BaseRequestHandler):
    """Sends what each line asks for, until one asks for nothing; says the digest of what is behind it."""

    def handle(self):
        with contextlib.suppress(ConnectionError), self.request.makefile("rb") as lines:
            while asked := int(lines.readline() or b"0"):
                for _ in range(asked >> 20):
                    self.request.sendall(PIECE)
                self.request.sendall(PIECE[: asked % len(PIECE)])
            digest = hashlib.sha256()
            while piece := lines.read(65536):
                digest.update(piece)
            self.request.sendall(digest.digest())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 128
    daemon_threads = True


@pytest.fixture(scope="module", params=["io_uring", "epoll"])
def running(request, tmp_path_factory):
    """A node whose only site is the stream; its port, its process, and its pipes while nothing passes."""
    folder = tmp_path_factory.mktemp("zeroserve")
    (port,) = free_ports(1)
    with served(Server(("127.0.0.1", 0), Peer)) as server:
        (folder / "Caddyfile").write_text(CADDYFILE.format(port=port, peer=server.server_address[1]))
        options = ("--io", request.param)
        with serving(folder, port, options=options, environment=apart(folder)) as node:
            yield port, node, engine_pipes(node)


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def read_some(connection, count):
    digest = hashlib.sha256()
    while count > 0:
        piece = connection.recv(min(count, 1 << 20))
        assert piece, f"ended {count} bytes early"
        digest.update(piece)
        count -= len(piece)
    return digest.digest()


def read_digest(connection):
    return connection.recv(32, socket.MSG_WAITALL)


def digest_of(count):
    digest = hashlib.sha256()
    for _ in range(count >> 20):
        digest.update(PIECE)
    return digest.digest()


def engine_pipes(node):
    """Pipes of the processes under this one that serve."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = status.read_bytes().split(b"\0")
            if b"serve" in words and is_under(status.parent, node.pid):
                found |= {
                    os.readlink(one) for one in (status.parent / "fd").iterdir() if "pipe" in os.readlink(one)
                }
    return found


def is_under(process, ancestor):
    while process.name not in ("0", "1"):
        if process.name == str(ancestor):
            return True
        process = Path("/proc") / (process / "stat").read_text().rpartition(")")[2].split()[1]
    return False


def wait_for(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@contextlib.contextmanager
def spliced(port, node, before):
    """A connection of which much is to come by pipes; when it has gone, so have they."""
    wait_for(lambda: engine_pipes(node) == before)
    with connect(port) as connection:
        connection.sendall(f"{LARGE}\n0\n".encode())
        read_some(connection, 4 << 20)
        wait_for(lambda: engine_pipes(node) > before)
        yield connection
    wait_for(lambda: engine_pipes(node) == before)


def test_much_passes_down_whole(running):
    port, *_ = running
    with connect(port) as connection:
        connection.sendall(f"{LARGE}\n0\n".encode())
        assert read_some(connection, LARGE) == digest_of(LARGE)
        connection.shutdown(socket.SHUT_WR)
        assert read_digest(connection) == hashlib.sha256().digest()
        assert connection.recv(1) == b""


def test_much_passes_up_whole_and_the_end_comes_after_it(running):
    port, *_ = running
    with connect(port) as connection:
        connection.sendall(b"0\n")
        for _ in range(LARGE >> 20):
            connection.sendall(PIECE)
        connection.shutdown(socket.SHUT_WR)
        assert read_digest(connection) == digest_of(LARGE)
        assert connection.recv(1) == b""


def test_both_ways_at_once(running):
    port, *_ = running
    with connect(port) as connection:
        connection.sendall(f"{LARGE}\n0\n".encode())

        def send():
            for _ in range(LARGE >> 20):
                connection.sendall(PIECE)
            connection.shutdown(socket.SHUT_WR)

        sending = threading.Thread(target=send)
        sending.start()
        assert read_some(connection, LARGE) == digest_of(LARGE)
        assert read_digest(connection) == digest_of(LARGE)
        sending.join()


def test_what_comes_last_needs_no_more_behind_it(running):
    port, *_ = running
    chance = random.Random(SEED)
    sizes = [[chance.randrange(3 << 20, 6 << 20) for _ in range(100)] for _ in range(4)]
    failures = []

    def ask(sizes):
        with connect(port) as connection:
            for size in sizes:
                connection.sendall(f"{size}\n".encode())
                try:
                    read_some(connection, size)
                except TimeoutError:
                    failures.append(size)
                    return

    threads = [threading.Thread(target=ask, args=(part,)) for part in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_what_comes_behind_urgent_bytes_passes(running):
    port, *_ = running
    with connect(port) as connection:
        connection.sendall(b"0\n")
        for _ in range(4):
            connection.sendall(PIECE)
        connection.send(b"!", socket.MSG_OOB)
        for _ in range(4):
            connection.sendall(PIECE)
        connection.shutdown(socket.SHUT_WR)
        assert read_digest(connection) == digest_of(8 << 20)
        assert connection.recv(1) == b""


def test_a_client_that_reads_nothing_for_a_while_loses_nothing(running):
    with spliced(*running) as connection:
        time.sleep(0.3)
        read_some(connection, LARGE - (4 << 20))
        connection.shutdown(socket.SHUT_WR)
        read_digest(connection)


@pytest.mark.parametrize("gone", ["reset", "closed"])
def test_a_client_that_goes_away_leaves_nothing(running, gone):
    with spliced(*running) as connection:
        if gone == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def test_more_streams_than_there_are_pipes_all_pass(running):
    port, *_ = running
    count, size = 40, 4 << 20
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect(port)) for _ in range(count)]
        for connection in connections:
            connection.sendall(f"{size}\n0\n".encode())
        for connection in connections:
            read_some(connection, 2 << 20)
        for connection in connections:
            read_some(connection, size - (2 << 20))
            connection.shutdown(socket.SHUT_WR)
            assert read_digest(connection) == hashlib.sha256().digest()
