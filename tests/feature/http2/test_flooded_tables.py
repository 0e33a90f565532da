"""Keys that a client chooses by the thousand, of fields, queries, cookies and HPACK's table: few are kept.

Too many in one request are refused, and what is kept of them is bounded.
"""

import socket

import pytest
from framing import END_HEADERS, HEADERS, WHOLE, Client, frame, get
from sizing import memory_kib

KEPT_KIB_MAX = 16 << 10
CONNECTIONS = 20


def ask(connection, target, fields):
    """Send one request over HTTP/1.1; return the status of its answer, whose body is empty."""
    lines = [f"GET {target} HTTP/1.1", "Host: localhost", *fields, "", ""]
    connection.sendall("\r\n".join(lines).encode())
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        piece = connection.recv(65536)
        assert piece, received
        received += piece
    return int(received.split(b" ")[1])


FLOODS = {
    "query keys": (lambda n: "/none?" + "&".join(f"{n}-{key}" for key in range(3_000)), lambda _: []),
    "names of fields": (lambda _: "/none", lambda n: [f"X-{n}-{key}: 1" for key in range(90)]),
    "cookies": (
        lambda _: "/none",
        lambda n: ["Cookie: " + "; ".join(f"{n}-{key}=1" for key in range(4_000))],
    ),
}


@pytest.mark.parametrize("name", FLOODS)
def test_keys_of_requests_are_not_kept(site, name):
    target, fields = FLOODS[name]
    before = memory_kib(site.session)
    for number in range(CONNECTIONS):
        with socket.create_connection(("127.0.0.1", site.clear), timeout=60) as connection:
            for request in range(10):
                key = number * 10 + request
                assert ask(connection, target(key), fields(key)) == 200
    assert memory_kib(site.session) - before < KEPT_KIB_MAX


@pytest.mark.parametrize(
    ("status", "target", "fields"),
    [
        (431, "/none", [f"X-{key}: 1" for key in range(101)]),
        (431, "/none", ["Cookie: " + "; ".join(f"{key}=1" for key in range(20_000))]),
        (414, "/none?" + "&".join(str(key) for key in range(8_000)), []),
    ],
    ids=["fields", "cookies", "query"],
)
def test_more_than_a_request_may_have_is_refused(site, status, target, fields):
    with socket.create_connection(("127.0.0.1", site.clear), timeout=60) as connection:
        lines = [f"GET {target} HTTP/1.1", "Host: localhost", *fields, "", ""]
        connection.sendall("\r\n".join(lines).encode())
        assert connection.makefile("rb").readline().split(b" ")[1] == str(status).encode()


def indexed(name, value):
    """A field that asks to be kept in HPACK's table, by names of up to 126 bytes."""
    return b"\x40" + bytes([len(name)]) + name + bytes([len(value)]) + value


def test_the_table_of_hpack_keeps_its_size_whatever_is_put_into_it(site):
    before = memory_kib(site.session)
    clients = [Client(site.port) for _ in range(CONNECTIONS)]
    for number in range(40):
        for client in clients:
            fields = b"".join(indexed(b"x-%d-%d" % (number, key), b"v" * 100) for key in range(80))
            head = get("/static") + fields
            client.send(frame(HEADERS, WHOLE, 2 * number + 1, head))
            flags, answer = client.read_until(HEADERS, 2 * number + 1)
            assert flags & END_HEADERS and answer[:1] == b"\x88"
    assert memory_kib(site.session) - before < KEPT_KIB_MAX
