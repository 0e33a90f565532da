"""What comes piece by piece: events through an encoder, answers that are cut off."""

import socket
import struct
import zlib

import pytest


def record(kind, content=b""):
    return struct.pack("!BBHHBB", 1, kind, 1, len(content), 0, 0) + content


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def asked(servers, raw):
    """Ask us (not Caddy) at a site; the client's socket."""
    sockets = []

    def ask(index, path="/x.php"):
        client = socket.create_connection(("127.0.0.1", servers[1][index]), timeout=60)
        sockets.append(client)
        fields = "Host: a\r\nAccept-Encoding: gzip\r\nConnection: close"
        client.sendall(f"GET {path} HTTP/1.1\r\n{fields}\r\n\r\n".encode())
        return client

    yield ask
    for client in sockets:
        client.close()


def decoded(data):
    head, _, rest = data.partition(b"\r\n\r\n")
    if b"chunked" not in head.lower():
        return rest
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size or b"0", 16)
        body += rest[:length]
        rest = rest[length + 2 :]
    return zlib.decompressobj(31).decompress(body) if b"gzip" in head else body


def test_an_event_is_not_held_back_by_the_encoder(asked, raw):
    client = asked(3)
    with raw.connection() as backend:
        backend.sendall(HEAD)
        head = client.recv(65536)
        assert b"content-encoding: gzip" in head.lower(), "the head does not wait for the first event"
        backend.sendall(b"b\r\ndata: one\n\n\r\n")
        data = read_until(client, head, b"data: one")
        backend.sendall(b"b\r\ndata: two\n\n\r\n")
        read_until(client, data, b"data: two")


def read_until(client, data, wanted):
    """Read on until the body holds what is wanted, beyond which the backend has not gone."""
    while wanted not in decoded(data):
        part = client.recv(65536)
        assert part, f"ended before {wanted!r}"
        data += part
    return data


def rest_of(client):
    data = b""
    try:
        while part := client.recv(65536):
            data += part
    except ConnectionResetError:
        pass
    return data


@pytest.mark.parametrize("text", [b"short", b"long enough to be encoded " * 100])
def test_a_script_that_is_cut_off_never_looks_complete(asked, raw, text):
    client = asked(4)
    with raw.connection() as backend:
        backend.sendall(record(6, b"Content-Type: text/plain\r\n\r\n" + text))
        data = client.recv(65536)
    data += rest_of(client)
    assert data.startswith(b"HTTP/1.1 200")
    assert b"\r\n0\r\n\r\n" not in data, "the last chunk says that all is there"


def test_a_script_without_a_word_is_a_bad_gateway(asked, raw):
    client = asked(4)
    with raw.connection() as backend:
        backend.sendall(record(3, bytes(8)))
        assert client.recv(65536).startswith(b"HTTP/1.1 502")


def test_bytes_that_are_no_records_are_a_bad_gateway(asked, raw):
    client = asked(4)
    with raw.connection() as backend:
        backend.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 502")


def test_records_in_single_bytes_are_one_answer(asked, raw):
    client = asked(4)
    output = record(7, b"warning") + record(6, b"Status: 203 X\r\nContent-Type: text/plain\r\n\r\nbody")
    with raw.connection() as backend:
        for byte in output + record(6) + record(3, bytes(8)):
            backend.sendall(bytes([byte]))
        data = rest_of(client)
    assert data.startswith(b"HTTP/1.1 203 Non-Authoritative Information\r\n")
    assert decoded(data) == b"body"
