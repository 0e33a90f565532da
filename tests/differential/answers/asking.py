"""Sending bytes and reading an answer, without a client library's opinions."""

import gzip
import http.client
import io
import socket
import ssl
from dataclasses import dataclass

VARYING = {
    "date",
    "server",
    "via",
    "alt-svc",
    "connection",
    "keep-alive",
    "x-request-id",
    "transfer-encoding",
}
"""Fields that name the server or the connection (docs/compatibility.md)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client sees; status 0 where the connection ended without an answer."""

    status: int
    fields: tuple[tuple[str, str], ...] = ()
    body: str = ""

    def lines(self):
        """Return the answer as text, for people."""
        return [
            str(self.status),
            *(f"{name}: {value}" for name, value in self.fields),
            "",
            *self.body.splitlines(),
        ]


class _Bytes:
    def __init__(self, data):
        self.data = data

    def makefile(self, *_):
        return io.BytesIO(self.data)


def ask(port, request):
    """Send a request to a port of this machine and return the answer."""
    data = exchange(port, request.payload, request.sni)
    return read_answer(data, request.payload) if data else Answer(0)


def read_answer(data, payload):
    """Return the answer that bytes are; `payload` is the request's."""
    method = payload.split(b" ", 1)[0].decode("latin-1")
    reply = http.client.HTTPResponse(_Bytes(data), method=method)
    reply.begin()
    fields = sorted(
        (name.lower(), value) for name, value in reply.getheaders() if name.lower() not in VARYING
    )
    body = reply.read()
    if coding := reply.getheader("Content-Encoding"):
        fields = [field for field in fields if field[0] != "content-length"]
        body = _decode(coding, body)
    return Answer(reply.status, tuple(fields), body.decode("latin-1"))


def _decode(coding, body):
    """Return what an encoded body stands for, as encoders differ in bytes; of zstd and br, how it begins."""
    if coding == "gzip" and body:
        return gzip.decompress(body)
    return body[:4] if coding == "zstd" else body


def exchange(port, payload, sni):
    """Send bytes and return all that comes back."""
    data = b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
        connection = plain
        try:
            if sni is not None:
                context = ssl._create_unverified_context()
                connection = context.wrap_socket(connection, server_hostname=sni or None)
            connection.sendall(payload)
            while part := connection.recv(65536):
                data += part
        except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
            pass
        finally:
            connection.close()
    return data
