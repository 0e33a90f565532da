"""A node that serves a Caddyfile before an origin that says what a test wants."""

from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from origins import Node, Origin, OriginHandler, Told
from ports import free_port
from starting import ZEROSERVE, started
from threads import served


@pytest.fixture(scope="module")
def origin():
    handler = type("Handler", (OriginHandler,), {"origin": Origin(free_port(), [Told()])})
    with served(ThreadingHTTPServer(("127.0.0.1", handler.origin.port), handler)):
        yield handler.origin


@contextmanager
def _serving(text: str, folder: Path, workers: int, options: str):
    port = free_port()
    head, admin = f"{{\n\tadmin off\n\tauto_https off\n{options}}}\n", folder / "admin.sock"
    (folder / "Caddyfile").write_text(head + text.replace("PORT", str(port)))
    command = [ZEROSERVE, "run", "--config", "Caddyfile", "--admin", admin, "--workers", str(workers)]
    with started(command, folder, port, admin):
        yield Node(port, ZEROSERVE, admin)


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
