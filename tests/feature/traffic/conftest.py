"""A node that serves a Caddyfile before an origin that says what a test wants."""

import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from origins import Node, Origin, OriginHandler, Told
from ports import free_port

ZEROSERVE = Path(sys.executable).parent / "zeroserve"
START_TIMEOUT_S = 60


@pytest.fixture(scope="module")
def origin():
    handler = type("Handler", (OriginHandler,), {"origin": Origin(free_port(), [Told()])})
    server = ThreadingHTTPServer(("127.0.0.1", handler.origin.port), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield handler.origin
    server.shutdown()
    server.server_close()


@contextmanager
def _serving(text: str, folder: Path, workers: int, options: str):
    port = free_port()
    head, admin = f"{{\n\tadmin off\n\tauto_https off\n{options}}}\n", folder / "admin.sock"
    (folder / "Caddyfile").write_text(head + text.replace("PORT", str(port)))
    with (folder / "log").open("wb") as log:
        command = [ZEROSERVE, "run", "--config", "Caddyfile", "--admin", admin, "--workers", str(workers)]
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while time.monotonic() < deadline and process.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield Node(port, ZEROSERVE, admin)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


@pytest.fixture(scope="module")
def serve(tmp_path_factory, request):
    """Start a node with a Caddyfile, where PORT is its port; it ends with the module."""
    running = []

    def start(text: str, workers: int = 1, options: str = "") -> Node:
        context = _serving(text, tmp_path_factory.mktemp("node"), workers, options)
        running.append(context)
        return context.__enter__()

    yield start
    for context in running:
        context.__exit__(None, None, None)
