"""A backend that is asked to switch protocols, and clients that ask for it; what either says is kept."""

import itertools
import socket
import threading
from dataclasses import dataclass

from threads import Listener

PATIENCE_S = 60
VARYING = {
    "via",
    "user-agent",
    "accept-encoding",
    "x-forwarded-for",
    "x-forwarded-host",
    "date",
    "server",
    "host",
    "alt-svc",
}
"""Fields that name a server, an address or the time, or that exactly one of the two proxies adds."""
SAID = b"said in the tunnel"


@dataclass(frozen=True, slots=True)
class Switched:
    """What came of a request: the head that went up, and what the client got."""

    upstream: tuple[str, ...]
    status: int
    fields: tuple[str, ...]
    echoed: bool


class SwitchingBackend:
    """Switches to the protocol that is asked for, or to WebSockets, and sends back what follows.

    `X-Answer: ignore` is answered 200. `askers` has the number of the connection of each request so far.
    """

    def __init__(self):
        self.heads = []
        self.askers = []
        self._numbers = itertools.count()
        self.listener = Listener(self._begin)
        self.port = self.listener.port

    def close(self):
        self.listener.close()

    def _begin(self, connection):
        number = next(self._numbers)
        threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection, number):
        with connection:
            connection.settimeout(PATIENCE_S)
            try:
                while head := read_head(connection):
                    self.heads.append(head)
                    self.askers.append(number)
                    if not self._answer(connection, head):
                        return
            except OSError:
                return

    def _answer(self, connection, head):
        names = dict(reversed([split_line(line) for line in head.split("\r\n")[1:]]))
        protocol = names.get("upgrade") or "websocket"
        if names.get("x-answer") == "ignore":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")
            return True
        answer = f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
        connection.sendall(answer.encode())
        while data := connection.recv(65536):
            connection.sendall(data)
        return False


def split_line(line):
    name, _, value = line.partition(":")
    return name.lower(), value.strip()


def read_head(connection):
    """Return a head without its empty line; "" at the end of the connection."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            return ""
        data += byte
    return data.decode("latin-1").removesuffix("\r\n\r\n")


def shown_fields(head):
    lines = [line for line in head.split("\r\n")[1:] if split_line(line)[0] not in VARYING]
    return tuple(sorted(f"{name}: {value}" for name, value in map(split_line, lines)))


def ask_to_switch(port, backend, target, *fields, early=False):
    """Send one request, and where it is answered by 101 some bytes; the backend is asked by nobody else.

    `early`: they are sent behind the request.
    """
    backend.heads.clear()
    lines = [f"GET {target} HTTP/1.1", "Host: a.example", *fields, "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall("\r\n".join(lines).encode() + (SAID if early else b""))
        head = read_head(connection)
        status = int(head.split(" ")[1]) if head else 0
        echoed = False
        if status == 101:
            connection.sendall(b"" if early else SAID)
            with connection.makefile("rb") as reader:
                echoed = reader.read(len(SAID)) == SAID
    upstream = tuple(field for one in backend.heads for field in shown_fields(one))
    return Switched(upstream, status, shown_fields(head), echoed)
