"""A backend that keeps what it is sent, byte for byte, and answers with what a test laid ready.

The recorder knows no more HTTP than where one well-framed request ends, read as strictly as RFC 9112 allows:
what it cannot frame is kept in `strangers`. So a test asks "which requests arrived", never "what did our own
parser think".
"""

import contextlib
import re
import threading
from dataclasses import dataclass, field

from threads import Listener

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"
_REQUEST_LINE = re.compile(rb"[A-Z]+ [!-~]+ HTTP/1\.[01]")
_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*")


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request as it arrived: request line, fields in order (names lower-case), body after its framing."""

    line: str
    fields: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def target(self):
        return self.line.split(" ")[1]

    def values(self, name):
        """Return the values of all fields of a name."""
        return [value for key, value in self.fields if key == name.lower()]


@dataclass
class Recorder:
    """Listens on loopback; `requests` and `strangers` grow while it runs, `answers` are used up in order."""

    requests: list[Recorded] = field(default_factory=list)
    strangers: list[bytes] = field(default_factory=list)
    answers: dict[str, bytes] = field(default_factory=dict)
    closing: set[str] = field(default_factory=set)
    early: set[str] = field(default_factory=set)
    """Paths that are answered at the end of the head, whatever follows it."""
    cut: list[str] = field(default_factory=list)
    """Paths whose answer nobody took whole."""

    def __post_init__(self):
        self.listener = Listener(self._begin)
        self.port = self.listener.port

    def close(self):
        self.listener.close()

    def forget(self):
        """Begin anew: nothing recorded, ordinary answers."""
        self.requests.clear()
        self.strangers.clear()
        self.answers.clear()
        self.closing.clear()
        self.early.clear()
        self.cut.clear()

    def _begin(self, connection):
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rb") as reader, contextlib.suppress(OSError):
            while request := self._read(reader):
                self.requests.append(request)
                path = request.target.partition("?")[0]
                try:
                    connection.sendall(self.answers.get(path, ANSWER))
                except OSError:
                    self.cut.append(path)
                    return
                if path in self.closing:
                    return

    def _read(self, reader):
        head = []
        while (line := reader.readline()) not in (b"", b"\r\n"):
            head.append(line)
        if not head:
            return None
        lines = [line.removesuffix(b"\r\n") for line in head]
        well_formed = _REQUEST_LINE.fullmatch(lines[0]) and all(_FIELD.fullmatch(one) for one in lines[1:])
        if not well_formed:
            self.strangers.append(b"".join(head))
            return None
        fields = tuple(_split_field(one) for one in lines[1:])
        is_early = lines[0].split(b" ")[1].decode() in self.early
        body = b"" if is_early else self._read_body(reader, fields)
        return None if body is None else Recorded(lines[0].decode(), fields, body)

    def _read_body(self, reader, fields):
        lengths = [value for name, value in fields if name == "content-length"]
        codings = [value for name, value in fields if name == "transfer-encoding"]
        if len(lengths) + len(codings) > 1 or (codings and codings != ["chunked"]):
            self.strangers.append(repr(fields).encode())
            return None
        if lengths:
            body = reader.read(int(lengths[0]))
            return body if len(body) == int(lengths[0]) else None
        return _read_chunks(reader) if codings else b""


def _split_field(line):
    name, _, value = line.decode("latin-1").partition(":")
    return name.lower(), value.strip(" \t")


def _read_chunks(reader):
    body = b""
    while True:
        line = reader.readline()
        if not re.fullmatch(rb"[0-9a-fA-F]+\r\n", line):
            return None
        size = int(line, 16)
        if size == 0:
            return body if reader.readline() == b"\r\n" else None
        body += reader.read(size)
        if reader.read(2) != b"\r\n":
            return None
