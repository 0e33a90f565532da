"""An origin that says what a test wants and keeps what it was asked, and clients of a node before it."""

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

PATIENCE_S = 60


@dataclass
class Told:
    """What the origin answers."""

    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b"content"
    status: int = 200
    before: Callable[[], object] = lambda: None
    """Called before the answer is sent."""


@dataclass
class Origin:
    """An upstream; `answers` are taken in turn, the last one for good."""

    port: int
    answers: list[Told] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def will(self, *answers: Told) -> None:
        """Forget what was asked, and answer so from now on."""
        self.answers, self.asked = list(answers), []

    def settle(self, count: int) -> None:
        """Wait until so many requests came, where some are not waited for; no longer than that takes."""
        deadline = time.monotonic() + PATIENCE_S
        while len(self.asked) < count and time.monotonic() < deadline:
            time.sleep(0.005)

    def next(self) -> Told:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class OriginHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    origin: Origin

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.rfile.read(length)
        names = {name.lower(): value for name, value in self.headers.items()}
        self.origin.asked.append((self.command, self.path, names))
        told = self.origin.next()
        told.before()
        self.send_response_only(told.status)
        for name, value in told.fields.items():
            for one in value.split("\n"):
                self.send_header(name, one)
        bodiless = told.status in (204, 304)
        if not bodiless:
            self.send_header("Content-Length", str(len(told.body)))
        self.end_headers()
        if not bodiless and self.command != "HEAD":
            self.wfile.write(told.body)

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Answer:
    """What a client got."""

    status: int
    fields: http.client.HTTPMessage
    body: bytes

    def get(self, name: str) -> str:
        return self.fields.get(name, "")


@dataclass
class Node:
    """A running server."""

    port: int
    zeroserve: Path
    admin: Path

    def ask(self, path: str = "/", method: str = "GET", **fields: str) -> Answer:
        """Send a request; field names have `_` for `-`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, headers={k.replace("_", "-"): v for k, v in fields.items()})
            answer = connection.getresponse()
            return Answer(answer.status, answer.msg, answer.read())
        finally:
            connection.close()
