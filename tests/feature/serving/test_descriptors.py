"""An engine without a free file descriptor refuses changes that bring one and lets clients wait, and goes on.

Needs the engine's binary (`make setup`, or ZEROSERVE_ENGINE); without it these tests fail.
"""

import contextlib
import http.client
import resource
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from ports import free_port
from starting import ZEROSERVE, apart, serving

PATIENCE_S = 120
ADMIN = "admin.sock"
OTHER_CODE = "header ?X-Path {path}"
"""Sites that differ in texts alone share their code, which is what comes with a descriptor."""


def site(port, word, *more):
    lines = ["bind 127.0.0.1", *more, f"respond {word}"]
    return f"http://127.0.0.1:{port} {{\n\t" + "\n\t".join(lines) + "\n}\n"


def ask(port):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
        return ask_again(connection)


def ask_again(connection):
    connection.request("GET", "/")
    return connection.getresponse().read().decode()


def reload(folder, text):
    (folder / "Caddyfile").write_text(text)
    command = [ZEROSERVE, "reload", "--config", "Caddyfile", "--admin", ADMIN]
    return subprocess.run(command, cwd=folder, check=False).returncode


def count_turns(metrics_port):
    """Turns of the engine's event loops."""
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=PATIENCE_S) as answer:
        lines = answer.read().decode().splitlines()
    return sum(
        float(line.split()[-1]) for line in lines if line.startswith("zeroserve_engine_loop_turns_total")
    )


def wait_for(log, words):
    deadline = time.monotonic() + PATIENCE_S
    while words not in log.read_text():
        assert time.monotonic() < deadline, f"the log has no {words!r}"
        time.sleep(0.1)


def find(ancestor, word):
    """The process under this one with this word in its command."""
    found = [
        int(one.parent.name)
        for one in Path("/proc").glob("[0-9]*/cmdline")
        if word in read(one).split(b"\0") and is_under(one.parent, ancestor)
    ]
    assert len(found) == 1
    return found[0]


def read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def is_under(process, ancestor):
    while process.name not in ("0", "1"):
        if process.name == str(ancestor):
            return True
        fields = read(process / "stat").rpartition(b")")[2].split()
        process = Path("/proc") / (fields[1].decode() if fields else "0")
    return False


@contextlib.contextmanager
def without_descriptors(pid):
    """The process may open none beyond those that it has."""
    had = {int(one.name) for one in Path(f"/proc/{pid}/fd").iterdir()}
    lowest = next(number for number in range(len(had) + 1) if number not in had)
    former = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest, former[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, former)


@pytest.mark.parametrize("io", ["auto", "epoll"])
def test_a_change_is_refused_with_its_reason_and_all_is_served_as_before(tmp_path, io):
    port, other = free_port(), free_port()
    (tmp_path / "Caddyfile").write_text(site(port, "First"))
    options = ("--admin", ADMIN, "--io", io)
    with serving(tmp_path, port, options=options, environment=apart(tmp_path)) as node:
        engine = find(node.pid, b"serve")
        # On epoll another connection would want a descriptor.
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        assert ask_again(client) == "First"
        with contextlib.closing(client), without_descriptors(engine):
            assert reload(tmp_path, site(port, "Second", OTHER_CODE)) == 1
            assert "no file descriptor is left" in (tmp_path / "log").read_text()
            assert ask_again(client) == "First"
        assert reload(tmp_path, site(port, "Third") + site(other, "Other")) == 0
        assert (ask(port), ask(other), find(node.pid, b"serve")) == ("Third", "Other", engine)


def test_clients_without_a_descriptor_wait_and_do_not_keep_the_engine_busy(tmp_path):
    port, metrics = free_port(), free_port()
    (tmp_path / "Caddyfile").write_text(site(port, "First"))
    options = ("--metrics-port", str(metrics), "--io", "epoll")
    with serving(tmp_path, port, options=options, environment=apart(tmp_path)) as node:
        with without_descriptors(find(node.pid, b"serve")):
            waiting = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
            waiting.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            wait_for(tmp_path / "log", "clients wait for their connection")
            before = count_turns(metrics)
            time.sleep(1)
            # One that is woken all the time takes 100,000.
            assert count_turns(metrics) - before < 2_000
        with waiting, waiting.makefile("rb") as answer:
            assert answer.read().endswith(b"First")
