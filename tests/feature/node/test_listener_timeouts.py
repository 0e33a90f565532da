"""Timeouts of `servers`: what outlasts those of its listener ends; others have the engine's own."""

import contextlib
import socket

import pytest
from ports import free_ports
from starting import serving

KINDS = ("read_header", "read_body", "read_body_idle", "write", "write_idle", "idle")
TIMEOUTS = {
    "heads": ("read_header 1s",),
    "bodies": ("read_body 1s",),
    "pieces": ("read_body_idle 500ms 1000",),
    "answers": ("write 1s",),
    "idle": ("idle 1s",),
    "later heads": ("read_header 1s",),
    "patient": tuple(f"{kind} 1h" for kind in KINDS),
}
"""By the name of a listener."""
TEXT = """{
	admin off
	auto_https off
%(servers)s}
http://:%(heads)d, http://:%(bodies)d, http://:%(pieces)d, http://:%(answers)d {
	reverse_proxy 127.0.0.1:%(backend)d
}
http://:%(idle)d, http://:%(later heads)d, http://:%(patient)d {
	respond ok
}
"""
GET = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
BODY = b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000\r\n\r\n"


def write_servers(port, timeouts):
    """Return the option of a listener with these timeouts."""
    lines = "".join(f"\t\t\t{line}\n" for line in timeouts)
    return f"\tservers :{port} {{\n\t\ttimeouts {{\n{lines}\t\t}}\n\t}}\n"


@pytest.fixture(scope="module")
def ports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("timeouts")
    with contextlib.ExitStack() as stack:
        # It takes connections and never answers.
        backend = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        found = dict(zip(TIMEOUTS, free_ports(len(TIMEOUTS)), strict=True))
        servers = "".join(write_servers(port, TIMEOUTS[name]) for name, port in found.items())
        names = {"servers": servers, "backend": backend.getsockname()[1]}
        (folder / "Caddyfile").write_text(TEXT % (found | names))
        stack.enter_context(serving(folder, *found.values()))
        yield found


def outlast(port, beginning, piece=b""):
    """Send a beginning, then a piece five times a second; returns what came when the connection ended."""
    data = b""
    with socket.create_connection(("127.0.0.1", port), timeout=0.2) as connection:
        connection.sendall(beginning)
        for _ in range(300):
            try:
                part = connection.recv(65536)
                if not part:
                    return data
                data += part
            except TimeoutError:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connection.sendall(piece)
            except ConnectionResetError:
                return data
    pytest.fail(f"the connection to {port} goes on")


@pytest.mark.parametrize(
    ("listener", "beginning", "piece"),
    [
        pytest.param("heads", b"GET / HTTP/1.1\r\nHost:", b" ", id="a head that takes too long"),
        pytest.param("bodies", BODY, b"x" * 8192, id="a body that takes too long as a whole"),
        pytest.param("pieces", BODY, b"x", id="a body below its rate"),
    ],
)
def test_a_request_that_outlasts_its_time_is_answered_408(ports, listener, beginning, piece):
    assert outlast(ports[listener], beginning, piece).startswith(b"HTTP/1.1 408 ")


def test_an_answer_that_takes_too_long_ends_the_connection(ports):
    assert outlast(ports["answers"], GET) == b""


def test_an_idle_connection_ends_without_a_word_after_its_answer(ports):
    answer = outlast(ports["idle"], GET)
    assert answer.endswith(b"\r\n\r\nok")


def test_a_connection_without_a_byte_ends_without_a_word(ports):
    assert outlast(ports["heads"], b"") == b""


def test_half_a_head_behind_an_answer_is_answered_408(ports):
    first, _, second = outlast(ports["later heads"], GET + b"GET / HTTP/1.1\r\nHost:", b" ").partition(b"ok")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert second.startswith(b"HTTP/1.1 408 ") and b"\r\nConnection: close\r\n" in second


def test_long_timeouts_serve_as_none(ports):
    with socket.create_connection(("127.0.0.1", ports["patient"]), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.endswith(b"\r\n\r\nok")
