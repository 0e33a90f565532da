"""A backend that speaks HTTP/2 frame by frame and counts what shares a connection.

The path says what it does: `/ok` answers, `/held` answers once `release` is set, `/silent` never does,
`/early` answers before the body came, `/big` and `/huge` answer with BIG_BYTES and HUGE_BYTES, `/reset`
resets, `/hints` answers after HINTS_BEFORE interim heads and a 100, `/many` after more of them than anybody
sends, `/echo` takes a WebSocket (RFC 8441) where the backend says so. On its first connection `/refuse`
refuses the stream, `/goaway` takes no stream from this one on, `/cut` ends the connection.
"""

import contextlib
import socket
import ssl
import struct
import threading

from framing import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from threads import Listener

PATIENCE_S = 120
BIG_BYTES = 1 << 20
HUGE_BYTES = 8 << 20
"""More than the kernel takes for a client that does not read (tcp_wmem, 4 MiB)."""
WINDOW_BYTES = 65_535
OK = b"\x88"
CONTINUE = b"\x08\x03100"
HINTS = b"\x08\x03103\x00\x04link\x08</style>"
HINTS_BEFORE, HINTS_TOO_MANY = 2, 3000
REFUSED_STREAM, CANCEL = 7, 8
ACTIONS = (
    *("/hints", "/many", "/echo", "/ok", "/held", "/silent", "/reset"),
    *("/refuse", "/goaway", "/early", "/cut", "/big", "/huge"),
)
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, ENABLE_CONNECT_PROTOCOL = 3, 4, 8


class Connection:
    """One connection of the proxy: what it opened, what it reset, how many were open at once."""

    def __init__(self, backend: "StreamBackend", plain: socket.socket, number: int) -> None:
        self.backend, self.socket, self.number = backend, plain, number
        self.open: set[int] = set()
        self.opened = 0
        self.peak = 0
        self.resets: dict[int, int] = {}
        self.going_away = False
        self.windows: dict[int, int] = {0: WINDOW_BYTES}
        self.initial = WINDOW_BYTES
        self.left: dict[int, int] = {}
        self.sockets: dict[int, bytes] = {}
        self.echoes: dict[int, bytes] = {}
        self.echoed_last: set[int] = set()
        self.lock = threading.RLock()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        with contextlib.suppress(OSError), self.socket, self.socket.makefile("rb") as reader:
            settings = struct.pack(">HI", MAX_CONCURRENT_STREAMS, self.backend.streams)
            if self.backend.websockets:
                settings += struct.pack(">HI", ENABLE_CONNECT_PROTOCOL, 1)
            self.send(frame(SETTINGS, 0, 0, settings))
            assert reader.read(len(PREFACE)) == PREFACE
            while len(head := reader.read(9)) == 9:
                kind, flags, stream = struct.unpack(">BBI", head[3:])
                payload = reader.read(int.from_bytes(head[:3]))
                with self.lock:
                    self.take(kind, flags, stream, payload)

    def send(self, *frames: bytes) -> None:
        self.socket.sendall(b"".join(frames))

    def take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack(">HI", payload[at : at + 6])
                self.initial = value if name == INITIAL_WINDOW_SIZE else self.initial
            self.send(frame(SETTINGS, 1, 0))
        elif kind == HEADERS:
            self.begin(stream, payload)
        elif kind == DATA and payload:
            grant = struct.pack(">I", len(payload))
            self.send(frame(WINDOW_UPDATE, 0, 0, grant), frame(WINDOW_UPDATE, 0, stream, grant))
            if stream in self.sockets:
                self.echo(stream, payload, flags & END_STREAM)
        elif kind == DATA and stream in self.sockets:
            self.echo(stream, b"", END_STREAM)
        elif kind == RST_STREAM:
            self.resets[stream] = int.from_bytes(payload)
            self.close(stream)
        elif kind == WINDOW_UPDATE:
            self.windows[stream] = self.windows.get(stream, self.initial) + int.from_bytes(payload)
            for waiting in tuple(self.left):
                self.pump(waiting)
            for waiting in tuple(self.echoes):
                self.echo(waiting, b"", 0)

    def begin(self, stream: int, block: bytes) -> None:
        self.opened += 1
        self.open.add(stream)
        self.peak = max(self.peak, len(self.open))
        action = next(action for action in ACTIONS if action.encode() in block)
        is_first = self.number == 0
        if action == "/held":
            threading.Thread(target=self.answer_later, args=(stream,), daemon=True).start()
        elif action == "/reset":
            self.reset(stream, CANCEL)
        elif action == "/refuse" and is_first:
            self.reset(stream, REFUSED_STREAM)
        elif (action == "/goaway" and is_first) or self.going_away:
            if not self.going_away:
                self.send(frame(GOAWAY, 0, 0, struct.pack(">II", stream - 2, 0)))
            self.going_away = True
        elif action == "/cut" and is_first:
            self.socket.shutdown(socket.SHUT_RDWR)
        elif action in ("/big", "/huge"):
            self.send(frame(HEADERS, END_HEADERS, stream, OK))
            self.left[stream] = BIG_BYTES if action == "/big" else HUGE_BYTES
            self.pump(stream)
        elif action in ("/hints", "/many"):
            count = HINTS_BEFORE if action == "/hints" else HINTS_TOO_MANY
            self.send(*(frame(HEADERS, END_HEADERS, stream, head) for head in [HINTS] * count + [CONTINUE]))
            self.answer(stream)
        elif action == "/echo":
            self.sockets[stream] = block
            self.send(frame(HEADERS, END_HEADERS, stream, OK))
        elif action != "/silent":
            self.answer(stream)
        self.backend.note()

    def answer(self, stream: int) -> None:
        self.send(frame(HEADERS, END_HEADERS, stream, OK), frame(DATA, END_STREAM, stream, b"ok"))
        self.close(stream)

    def answer_later(self, stream: int) -> None:
        self.backend.release.wait()
        with self.lock, contextlib.suppress(OSError):
            self.answer(stream)

    def reset(self, stream: int, code: int) -> None:
        self.send(frame(RST_STREAM, 0, stream, struct.pack(">I", code)))
        self.close(stream)

    def pump(self, stream: int) -> None:
        """Send what both windows allow of a long body."""
        while stream in self.left:
            own = self.windows.setdefault(stream, self.initial)
            size = min(own, self.windows[0], 16_384, self.left[stream])
            if size <= 0:
                return
            self.left[stream] -= size
            self.windows[stream] -= size
            self.windows[0] -= size
            is_last = self.left[stream] == 0
            self.send(frame(DATA, END_STREAM if is_last else 0, stream, b"x" * size))
            if is_last:
                self.close(stream)

    def echo(self, stream: int, payload: bytes, end: int) -> None:
        """Send back what both windows allow of what came, then its end."""
        left = self.echoes.pop(stream, b"") + payload
        if end:
            self.echoed_last.add(stream)
        while left:
            own = self.windows.setdefault(stream, self.initial)
            size = min(own, self.windows[0], 16_384, len(left))
            if size <= 0:
                self.echoes[stream] = left
                return
            self.windows[stream] -= size
            self.windows[0] -= size
            self.send(frame(DATA, 0, stream, left[:size]))
            left = left[size:]
        if stream in self.echoed_last:
            self.echoed_last.discard(stream)
            self.send(frame(DATA, END_STREAM, stream))
            self.close(stream)

    def close(self, stream: int) -> None:
        self.open.discard(stream)
        self.echoes.pop(stream, None)
        self.left.pop(stream, None)
        self.backend.note()


class StreamBackend:
    """The listener. `streams`: what its SETTINGS allow at once; `websockets`: they take extended CONNECT.

    Where TLS agrees on HTTP/1.1, every connection is a WebSocket's.
    """

    def __init__(self, streams: int, context: ssl.SSLContext | None = None, websockets: bool = False) -> None:
        self.streams, self.context, self.websockets = streams, context, websockets
        self.release = threading.Event()
        self.changed = threading.Condition()
        self.connections: list[Connection] = []
        self.listener = Listener(self._begin)
        self.port = self.listener.port

    def _begin(self, plain: socket.socket) -> None:
        # Frames of a body must not wait for each other.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.context is not None:
            plain = self.context.wrap_socket(plain, server_side=True)
            if plain.selected_alpn_protocol() == "http/1.1":
                threading.Thread(target=switch, args=(plain,), daemon=True).start()
                return
        connection = Connection(self, plain, len(self.connections))
        # Counted before it notes anything: who waits for its first stream looks again at a note alone.
        self.connections.append(connection)
        connection.thread.start()

    def note(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def wait(self, condition) -> None:
        """Until `condition` of this backend holds."""
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self), timeout=PATIENCE_S), self.counts()

    def counts(self) -> list[int]:
        """Streams that each connection has open."""
        return [len(connection.open) for connection in self.connections]

    def total(self) -> int:
        return sum(self.counts())

    def restart(self) -> None:
        """Every connection ends, and the proxy knows; the next is the first again."""
        self.release.set()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_WR)
            connection.thread.join(PATIENCE_S)
        self.connections, self.release = [], threading.Event()

    def close(self) -> None:
        self.release.set()
        self.listener.close()


def switch(plain: socket.socket) -> None:
    """Answer one request with 101 and echo what comes behind it."""
    with contextlib.suppress(OSError), plain, plain.makefile("rb") as reader:
        while reader.readline().strip():
            pass
        plain.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: x\r\n\r\n"
        )
        while data := reader.read1():
            plain.sendall(data)
