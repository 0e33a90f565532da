"""Bodies that would grow when somebody inflates them: nobody does, in either direction."""

import contextlib
import gzip
import itertools
import os
import socket
import zlib

import pytest
from ports import free_port
from recording import Recorder
from sizing import memory_kib
from starting import serving

CADDYFILE = """{{
	admin off
	auto_https off
}}
http://:{port} {{
	handle /encoded* {{
		encode zstd gzip
		reverse_proxy 127.0.0.1:{backend}
	}}
	handle /page* {{
		templates
		reverse_proxy 127.0.0.1:{backend}
	}}
	handle /kept* {{
		request_body {{
			max_size 2MB
		}}
		reverse_proxy 127.0.0.1:{backend} {{
			request_buffers 1MiB
			response_buffers 1MiB
		}}
	}}
	reverse_proxy 127.0.0.1:{backend}
}}
"""
INFLATED_BYTES = 256 << 20
PATHS = ("/plain", "/encoded", "/page", "/kept")


def deflate(size, wbits):
    """Zeros in so many bytes, compressed: a thousandth of them."""
    packer, piece = zlib.compressobj(9, zlib.DEFLATED, wbits), bytes(1 << 20)
    return b"".join(packer.compress(piece) for _ in range(size >> 20)) + packer.flush()


BOMBS = {"gzip": deflate(INFLATED_BYTES, 31), "deflate": deflate(INFLATED_BYTES, 15)}
# An RLE block of zstd says 128 KiB in four bytes (CVE-2026-48044).
BOMBS["zstd"] = b"\x28\xb5\x2f\xfd\x00\x38" + b"\x02\x00\x10\x00" * 65_536 + b"\x03\x00\x00"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The port, what stands behind it, and the session of the server's processes."""
    folder, recorder, port = tmp_path_factory.mktemp("bombs"), Recorder(), free_port()
    (folder / "Caddyfile").write_text(CADDYFILE.format(port=port, backend=recorder.port))
    with serving(folder, port) as process:
        yield port, recorder, os.getsid(process.pid)
    recorder.close()


def exchange(port, head, body=b""):
    """Send one request on a connection of its own; return head and body of its answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(head + body)
        answer_head, _, answer_body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    return answer_head, answer_body


@contextlib.contextmanager
def holding_little(served):
    """The port, and what stands behind it, anew; meanwhile the server's memory hardly grows."""
    port, recorder, session = served
    recorder.forget()
    before = memory_kib(session)
    yield port, recorder
    assert memory_kib(session) - before < 16 << 10


each_bomb = pytest.mark.parametrize(("coding", "path"), list(itertools.product(BOMBS, PATHS)))


@each_bomb
def test_a_compressed_request_body_goes_up_as_it_came(served, coding, path):
    bomb = BOMBS[coding]
    head = (
        f"POST {path} HTTP/1.1\r\nHost: a.example\r\nContent-Encoding: {coding}\r\n"
        f"Content-Length: {len(bomb)}\r\nConnection: close\r\n\r\n"
    )
    with holding_little(served) as (port, recorder):
        assert exchange(port, head.encode(), bomb)[0].startswith(b"HTTP/1.1 200")
    (request,) = recorder.requests
    assert request.body == bomb


@each_bomb
def test_a_compressed_answer_comes_down_as_it_was(served, coding, path):
    bomb = BOMBS[coding]
    answer = (
        f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: {coding}\r\n"
        f"Content-Length: {len(bomb)}\r\n\r\n"
    ).encode() + bomb
    head = (
        f"GET {path} HTTP/1.1\r\nHost: a.example\r\nAccept-Encoding: gzip, zstd\r\nConnection: close\r\n\r\n"
    )
    with holding_little(served) as (port, recorder):
        recorder.answers[path] = answer
        assert exchange(port, head.encode())[1] == bomb


def test_the_bombs_are_bombs():
    assert len(gzip.decompress(BOMBS["gzip"])) == INFLATED_BYTES == len(zlib.decompress(BOMBS["deflate"]))
    assert all(len(bomb) < INFLATED_BYTES >> 8 for bomb in BOMBS.values())
