"""Whom the PROXY header to an upstream names (`proxy_protocol` of a transport), beside stock Caddy."""

import contextlib
import socket
import struct

import pytest
from ports import free_ports
from starting import side_by_side
from threads import Listener

NAMES = ("V1", "V2")
SITE = """
http://:{{${name}}} {{
	reverse_proxy 127.0.0.1:{{$UPSTREAM}} {{
		transport http {{
			proxy_protocol {version}
		}}
	}}
}}
"""
TEXT = (
    "{\n\tadmin off\n\tauto_https off\n\tservers {\n\t\ttrusted_proxies static 127.0.0.0/8\n\t}\n}\n"
    + "".join(SITE.format(name=name, version=name.lower()) for name in NAMES)
)
FAMILIES = {0x11: (socket.AF_INET, 4), 0x21: (socket.AF_INET6, 16)}


def answer(connection):
    """Say family and address of the client; what else a header holds is each proxy's own."""
    with connection, connection.makefile("rb") as stream:
        head = stream.readline()
        if head == b"\r\n":
            family, width = FAMILIES[struct.unpack("!BH", stream.read(14)[11:])[0]]
            told = socket.inet_ntop(family, stream.read(2 * width + 4)[:width])
        else:
            told = " ".join(head.decode().split()[1:3])
        while stream.readline() not in (b"\r\n", b""):
            pass
        head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(told)}\r\n\r\n"
        connection.sendall((head + told).encode())


@pytest.fixture(scope="module")
def listening(tmp_path_factory):
    """Return (stock Caddy's ports, ours)."""
    upstream = Listener(answer)

    def make_values(_):
        return dict(zip(NAMES, free_ports(len(NAMES)), strict=True)) | {"UPSTREAM": upstream.port}

    try:
        with side_by_side(tmp_path_factory, TEXT, make_values, NAMES) as found:
            yield found
    finally:
        upstream.close()


def ask(port, host, field):
    with socket.create_connection((host, port), timeout=60) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: a\r\n{field}Connection: close\r\n\r\n".encode())
        data = b""
        while piece := connection.recv(65536):
            data += piece
    return data.rpartition(b"\r\n\r\n")[2]


def list_clients():
    """Return host, field and client of each request; none over IPv6 where the machine has none."""
    yield "127.0.0.1", "", b"127.0.0.1"
    yield "127.0.0.1", "X-Forwarded-For: 203.0.113.7\r\n", b"203.0.113.7"
    yield "127.0.0.1", "X-Forwarded-For: 2001:db8::7\r\n", b"2001:db8::7"
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        yield "::1", "", b"::1"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("host", "field", "client"), [*list_clients()])
def test_an_upstream_is_told_the_client_whatever_its_family(listening, name, host, field, client):
    caddy, ours = (ask(ports[name], host, field) for ports in listening)
    assert ours == caddy
    assert ours.endswith(client)
