"""`zeroserve run` changes what it serves, by `--watch` and by `reload`, while clients ask: no request fails.

Needs the engine's binary (`make setup`, or ZEROSERVE_ENGINE); without it these tests fail.
"""

import contextlib
import http.client
import os
import subprocess
import threading
import time

import pytest
from ports import free_port
from starting import ZEROSERVE, replace, started

PATIENCE_S = 120
CLIENTS = 4
CHANGES = 5


def site(port, word):
    return f"http://127.0.0.1:{port} {{\n\tbind 127.0.0.1\n\theader X-Word {word}\n\trespond {word}\n}}\n"


def ask(connection):
    connection.request("GET", "/")
    reply = connection.getresponse()
    return reply.status, reply.getheader("X-Word"), reply.read().decode()


def ask_once(port):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
        return ask(connection)


def wait_for(port, word):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError):
            if ask_once(port) == (200, word, word):
                return
        time.sleep(0.02)
    pytest.fail(f"{word} is never served")


class Clients:
    """Half of them keep their connection, half take a new one for each request."""

    def __init__(self, port):
        self.port = port
        self.stopping = threading.Event()
        self.answers = []
        self.failures = []
        self.threads = [
            threading.Thread(target=self.keep_asking if number % 2 else self.keep_connecting)
            for number in range(CLIENTS)
        ]

    def keep_asking(self):
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        ) as one:
            # http.client connects again where the server said `Connection: close`, and only there.
            self.repeat(lambda: ask(one))

    def keep_connecting(self):
        self.repeat(lambda: ask_once(self.port))

    def repeat(self, request):
        while not self.stopping.is_set():
            try:
                self.answers.append(request())
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                return

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def serve(tmp_path, port):
    """Start `zeroserve run` on tmp_path/Caddyfile with further arguments; waits for `places`, too."""
    environment = dict(os.environ, HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))

    with contextlib.ExitStack() as running:

        def start(*arguments, places=()):
            command = [ZEROSERVE, "run", "--config", "Caddyfile", "--workers", "1", *arguments]
            running.enter_context(started(command, tmp_path, port, *places, environment=environment))

        yield start


def test_a_watched_caddyfile_changes_without_a_failed_request(serve, port, tmp_path):
    caddyfile = tmp_path / "Caddyfile"
    caddyfile.write_text(site(port, "word0"))
    serve("--watch", "--admin", "off")
    wait_for(port, "word0")
    with Clients(port) as clients:
        for number in range(1, CHANGES + 1):
            replace(caddyfile, site(port, f"word{number}"))
            wait_for(port, f"word{number}")
    assert clients.failures == []
    assert {status for status, _, _ in clients.answers} == {200}
    # Each answer is of one configuration, never of two.
    assert all(field == body for _, field, body in clients.answers)


def test_reload_changes_the_caddyfile_without_a_failed_request(serve, port, tmp_path):
    admin = tmp_path / "admin.sock"
    (tmp_path / "Caddyfile").write_text(site(port, "word0"))
    serve("--admin", str(admin), places=[admin])
    wait_for(port, "word0")
    with Clients(port) as clients:
        for number in range(1, CHANGES + 1):
            other = tmp_path / f"{number}.caddyfile"
            other.write_text(site(port, f"word{number}"))
            subprocess.run([ZEROSERVE, "reload", "--config", other, "--admin", admin], check=True)
            assert ask_once(port) == (200, f"word{number}", f"word{number}")
    assert clients.failures == []
    assert {status for status, _, _ in clients.answers} == {200}


def test_a_broken_caddyfile_leaves_what_is_served(serve, port, tmp_path):
    admin = tmp_path / "admin.sock"
    caddyfile = tmp_path / "Caddyfile"
    caddyfile.write_text(site(port, "kept"))
    serve("--admin", str(admin), places=[admin])
    wait_for(port, "kept")
    caddyfile.write_text(f"http://127.0.0.1:{port} {{\n\tno_such_directive\n}}\n")
    command = [ZEROSERVE, "reload", "--config", caddyfile, "--admin", admin]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "no_such_directive" in refused.stderr
    assert ask_once(port) == (200, "kept", "kept")
