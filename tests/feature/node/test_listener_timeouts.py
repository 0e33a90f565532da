"""Timeouts of `servers`: what outlasts those of its listener ends; others have the engine's own."""

import contextlib
import socket

import pytest
from ports import free_ports
from starting import serving

NAMES = ("heads", "bodies", "pieces", "answers", "idle", "patient")
TEXT = """{
	admin off
	auto_https off
	servers :%(heads)d {
		timeouts {
			read_header 1s
		}
	}
	servers :%(bodies)d {
		timeouts {
			read_body 1s
		}
	}
	servers :%(pieces)d {
		timeouts {
			read_body_idle 500ms 1000
		}
	}
	servers :%(answers)d {
		timeouts {
			write 1s
		}
	}
	servers :%(idle)d {
		timeouts {
			idle 1s
		}
	}
	servers :%(patient)d {
		timeouts {
			read_header 1h
			read_body 1h
			read_body_idle 1h
			write 1h
			write_idle 1h
			idle 1h
		}
	}
}
http://:%(heads)d, http://:%(bodies)d, http://:%(pieces)d, http://:%(answers)d {
	reverse_proxy 127.0.0.1:%(backend)d
}
http://:%(idle)d, http://:%(patient)d {
	respond ok
}
"""
BODY = b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000\r\n\r\n"


@pytest.fixture(scope="module")
def ports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("timeouts")
    with contextlib.ExitStack() as stack:
        # It takes connections and never answers.
        backend = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        found = dict(zip(NAMES, free_ports(len(NAMES)), strict=True))
        (folder / "Caddyfile").write_text(TEXT % (found | {"backend": backend.getsockname()[1]}))
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


def test_a_head_that_takes_too_long_is_answered_408(ports):
    assert outlast(ports["heads"], b"GET / HTTP/1.1\r\nHost:", b" ").startswith(b"HTTP/1.1 408 ")


def test_a_body_that_takes_too_long_as_a_whole_is_answered_408(ports):
    assert outlast(ports["bodies"], BODY, b"x" * 8192).startswith(b"HTTP/1.1 408 ")


def test_a_body_below_its_rate_is_answered_408(ports):
    assert outlast(ports["pieces"], BODY, b"x").startswith(b"HTTP/1.1 408 ")


def test_an_answer_that_takes_too_long_ends_the_connection(ports):
    assert outlast(ports["answers"], b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n") == b""


def test_an_idle_connection_ends(ports):
    answer = outlast(ports["idle"], b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
    assert answer.endswith(b"\r\n\r\nok")


def test_long_timeouts_serve_as_none(ports):
    with socket.create_connection(("127.0.0.1", ports["patient"]), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.endswith(b"\r\n\r\nok")
