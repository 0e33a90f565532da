"""A node that serves one Caddyfile, and backends whose answers wait until a test lets them go."""

import contextlib
import http.client
import http.server
import threading

import pytest
from ports import free_port
from starting import serving
from threads import served

ANSWER_TIMEOUT_S = 60
HEAD = "{\n\tadmin off\n\tauto_https off\n}\n"


class Backend(http.server.ThreadingHTTPServer):
    """Answers with its name; `/hold` waits for `release`, `/fail` is a 503. `seen` has every request."""

    daemon_threads = True

    def __init__(self, name):
        super().__init__(("127.0.0.1", 0), Handler)
        self.name = name
        self.release = threading.Event()
        self.arrived = threading.Semaphore(0)
        self.seen = []

    @property
    def address(self):
        return f"127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, dict(self.headers.items()), body))
        self.server.arrived.release()
        if self.path.startswith("/hold"):
            self.server.release.wait(ANSWER_TIMEOUT_S)
        payload = self.server.name.encode()
        self.send_response(503 if self.path.startswith("/fail") else 200)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(payload)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.fixture
def backends():
    """Two of them."""
    with served(Backend("one")) as one, served(Backend("two")) as two:
        yield [one, two]
        for backend in (one, two):
            backend.release.set()


@pytest.fixture
def serve(tmp_path):
    """Return a function that serves routes on one port and returns it."""
    with contextlib.ExitStack() as nodes:

        def start(routes, options=()):
            port = free_port()
            text = f"{HEAD}http://:{port} {{\n\tbind 127.0.0.1\n{routes}\n}}\n"
            (tmp_path / "Caddyfile").write_text(text)
            nodes.enter_context(serving(tmp_path, port, options=options))
            return port

        yield start


def ask(port, path, method="GET", body=None):
    """Return (status, body) of a request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_TIMEOUT_S)
    connection.request(method, path, body)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


@pytest.fixture(name="ask")
def ask_fixture():
    return ask
