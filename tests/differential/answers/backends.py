"""Backends that answer with what they were sent, so that comparing answers compares that too."""

import contextlib
import http.server
import socketserver
import time

from threads import served

VARYING = {"via", "accept-encoding", "connection"}
"""Fields that exactly one of the two proxies adds (docs/compatibility.md), and the connection's own."""


class EchoHandler(http.server.BaseHTTPRequestHandler):
    """Answers 200, or the status in the field X-Answer, with the request as text; after X-Delay seconds."""

    protocol_version = "HTTP/1.1"

    def handle_one_request(self):
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        self.answer()

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(length)
        time.sleep(float(self.headers.get("X-Delay", "0")))
        fields = sorted(
            f"{name.lower()}: {value}" for name, value in self.headers.items() if name.lower() not in VARYING
        )
        text = "\n".join([self.server.name, self.requestline, *fields, "", body.decode("latin-1")])
        payload = text.encode("latin-1")
        self.send_response_only(int(self.headers.get("X-Answer", "200")))
        for name, value in (
            ("Content-Type", "text/plain"),
            ("X-Backend", self.server.name),
            ("X-Powered-By", "Echo/1.0"),
            ("Cache-Control", "max-age=60"),
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
            ("Content-Length", str(len(payload))),
        ):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)
        self.wfile.flush()

    def log_message(self, *_):
        pass


class ClosingHandler(socketserver.StreamRequestHandler):
    """Reads a request's head and closes without an answer."""

    def handle(self):
        while self.rfile.readline().strip():
            pass


class TrailingHandler(socketserver.StreamRequestHandler):
    """Answers in chunks with trailers."""

    def handle(self):
        while self.rfile.readline().strip():
            pass
        self.wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n"
            b"Trailer: X-Check, X-Other\r\nConnection: close\r\n\r\n"
            b"5\r\nhello\r\n0\r\nX-Check: 1\r\nX-Other: two\r\n\r\n"
        )


def trailing_backend():
    """Serve a backend whose answers have trailers; its port."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), TrailingHandler)
    return _serve(server, lambda: server.server_address[1])


def backend(name):
    """Serve a backend; its port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), EchoHandler)
    server.name = name
    return _serve(server, lambda: server.server_port)


def closing_backend():
    """Serve a backend that never answers; its port."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), ClosingHandler)
    return _serve(server, lambda: server.server_address[1])


@contextlib.contextmanager
def _serve(server, find_port):
    with served(server):
        yield find_port()
