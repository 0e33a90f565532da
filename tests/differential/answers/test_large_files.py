"""Files that are too large to be read at once: without copies where the client's side is plain."""

import contextlib
import hashlib
import os
import random
import socket
import ssl
import sys
import time
from pathlib import Path

import pytest
from ports import free_port
from starting import apart, serving

BIN = Path(sys.executable).parent
LENGTH = 9_000_001
CONTENT = random.Random(1).randbytes(LENGTH)
CADDYFILE = """\
{{
  auto_https off
  admin off
}}
(files) {{
  root * {folder}/site
  file_server
}}
http://:{plain} {{
  import files
}}
https://:{tls} {{
  tls {certificate} {key}
  import files
}}
"""


@pytest.fixture(scope="module", params=["io_uring", "epoll"])
def site(request, tmp_path_factory, variables):
    """Ours with that backend: (folder of the files, plain port, TLS port)."""
    folder = tmp_path_factory.mktemp("large")
    (folder / "site").mkdir()
    (folder / "site/large").write_bytes(CONTENT)
    plain, tls = free_port(), free_port()
    pair = {"certificate": variables["CERTIFICATE"], "key": variables["KEY"]}
    (folder / "Caddyfile").write_text(CADDYFILE.format(plain=plain, tls=tls, folder=folder, **pair))
    with serving(folder, plain, options=("--io", request.param), environment=apart(folder)):
        yield folder / "site", plain, tls


@contextlib.contextmanager
def connected(port, tls=False, receive_bytes=None):
    client = socket.socket()
    if receive_bytes:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.settimeout(60)
    client.connect(("127.0.0.1", port))
    if tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = context.wrap_socket(client, server_hostname="a.example")
    with client, client.makefile("rb") as reader:
        yield client, reader


def request(path, *fields, method="GET"):
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a.example", *fields, "", ""]).encode()


def read_head(reader):
    status = int(reader.readline().split()[1])
    fields = {}
    while (line := reader.readline().strip()) != b"":
        name, _, value = line.decode().partition(": ")
        fields[name.lower()] = value
    return status, fields


def read_answer(reader):
    status, fields = read_head(reader)
    return status, reader.read(int(fields["content-length"]))


def digest(content):
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_large_file_comes_whole_and_the_connection_goes_on(site, tls):
    with connected(site[2] if tls else site[1], tls) as (client, reader):
        client.sendall(request("/large") * 2 + request("/none") + request("/large"))
        for status, length in ((200, LENGTH), (200, LENGTH), (404, 0), (200, LENGTH)):
            found, body = read_answer(reader)
            assert (found, len(body)) == (status, length)
            assert status == 404 or digest(body) == digest(CONTENT)


def test_ranges_of_a_large_file(site):
    with connected(site[1]) as (client, reader):
        client.sendall(request("/large", "Range: bytes=1000001-6000000"))
        assert read_answer(reader) == (206, CONTENT[1_000_001:6_000_001])
        client.sendall(request("/large", "Range: bytes=0-2999999,4000000-8999999"))
        status, body = read_answer(reader)
        assert status == 206
        assert CONTENT[:3_000_000] in body
        assert CONTENT[4_000_000:9_000_000] in body


def test_head_sends_no_body(site):
    with connected(site[1]) as (client, reader):
        client.sendall(request("/large", method="HEAD"))
        assert read_head(reader)[1]["content-length"] == str(LENGTH)
        client.sendall(request("/large", "Range: bytes=5-9"))
        assert read_answer(reader) == (206, CONTENT[5:10])


def test_a_client_that_reads_slowly_gets_all_of_it(site):
    with connected(site[1], receive_bytes=4096) as (client, reader):
        client.sendall(request("/large"))
        assert read_head(reader)[0] == 200
        start = reader.read(100_000)
        time.sleep(0.5)
        with connected(site[1]) as (other, other_reader):
            other.sendall(request("/none"))
            assert read_head(other_reader)[0] == 404
        assert digest(start + reader.read(LENGTH - len(start))) == digest(CONTENT)


def test_clients_that_leave_take_nobody_with_them(site):
    for _ in range(20):
        with connected(site[1], receive_bytes=4096) as (client, reader):
            client.sendall(request("/large"))
            assert read_head(reader)[0] == 200
    with connected(site[1]) as (client, reader):
        client.sendall(request("/large"))
        assert digest(read_answer(reader)[1]) == digest(CONTENT)


def test_a_file_that_shrinks_ends_its_connection(site):
    folder, plain, _ = site
    (folder / "shrinking").write_bytes(b"x" * 64_000_000)
    with connected(plain, receive_bytes=4096) as (client, reader):
        client.sendall(request("/shrinking"))
        assert read_head(reader)[0] == 200
        os.truncate(folder / "shrinking", 1)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while block := reader.read(1_000_000):
                received += len(block)
        assert received < 64_000_000


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("length", [1, 32_767, 32_768, 65_536, 65_537, 102_400, 600_000])
def test_a_file_that_is_replaced_while_it_is_kept_open_is_the_new_one(site, tls, length):
    folder, plain, secure = site
    path, other = folder / "changing", folder / "changing.new"
    with connected(secure if tls else plain, tls) as (client, reader):
        for step, size in enumerate((length, length, length + 5, max(length - 5, 0))):
            content = CONTENT[step : step + size]
            other.write_bytes(content)
            other.rename(path)
            for _ in range(3):
                client.sendall(request("/changing"))
                assert read_answer(reader) == (200, content)
            path.write_bytes(content[::-1] + b"!")
            client.sendall(request("/changing"))
            assert read_answer(reader) == (200, content[::-1] + b"!")
        path.unlink()
        client.sendall(request("/changing"))
        assert read_answer(reader)[0] == 404
