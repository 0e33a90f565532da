"""A client that writes any frame it likes, right or wrong."""

import socket
import ssl
import struct

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED = 1, 4, 8
ACK = 1
WHOLE = END_HEADERS | END_STREAM
"""HEADERS that nothing follows."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def block(**fields: str) -> bytes:
    """A header block of literals; `method`, `path`, `scheme`, `authority`, `protocol` are pseudo fields."""
    out = b""
    for key, value in fields.items():
        name = f":{key}" if key in ("method", "path", "scheme", "authority", "protocol") else key
        name = name.replace("_", "-")
        out += b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
    return out


def literal(name: bytes, value: bytes) -> bytes:
    """A field without indexing, whatever its bytes."""
    return b"\0" + b"".join(integer(len(text)) + text for text in (name, value))


def integer(number: int) -> bytes:
    """RFC 7541 5.1, with a prefix of seven bits."""
    if number < 127:
        return bytes([number])
    rest, out = number - 127, b"\x7f"
    while rest >= 128:
        rest, out = rest >> 7, out + bytes([rest & 127 | 128])
    return out + bytes([rest])


def get(path: str, **fields: str) -> bytes:
    return block(method="GET", scheme="https", path=path, authority="localhost", **fields)


def post(path: str, **fields: str) -> bytes:
    return block(method="POST", scheme="https", path=path, authority="localhost", **fields)


class Client:
    """One connection, after both sides' SETTINGS."""

    def __init__(self, port: int, settings: bytes = b"") -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        assert self.socket.selected_alpn_protocol() == "h2"
        self.buffer = b""
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))

    def send(self, *frames: bytes) -> bool:
        """False: the connection is gone."""
        try:
            self.socket.sendall(b"".join(frames))
        except OSError:
            return False
        return True

    def read(self) -> tuple[int, int, int, bytes] | None:
        """The next frame: kind, flags, stream, payload. None: the end of the connection."""
        while True:
            if len(self.buffer) >= 9:
                length = int.from_bytes(self.buffer[:3])
                if len(self.buffer) >= 9 + length:
                    kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
                    payload = self.buffer[9 : 9 + length]
                    self.buffer = self.buffer[9 + length :]
                    return kind, flags, stream, payload
            try:
                data = self.socket.recv(65536)
            except (ConnectionError, ssl.SSLError):
                return None
            if not data:
                return None
            self.buffer += data

    def read_until(self, kind: int, stream: int) -> tuple[int, bytes]:
        """Flags and payload of the next frame of this kind and stream."""
        while found := self.read():
            if (found[0], found[2]) == (kind, stream):
                return found[1], found[3]
        raise AssertionError("the connection ended")

    def read_end(self) -> int | None:
        """The code of GOAWAY, then the connection's end; None where it ended without."""
        code = None
        while found := self.read():
            if found[0] == GOAWAY:
                code = int.from_bytes(found[3][4:8])
        return code
