"""`zeroserve run` beside others: addresses that are taken, and the signals that Caddy knows.

Needs the engine's binary (`make setup`, or ZEROSERVE_ENGINE); without it these tests fail.
"""

import contextlib
import http.client
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from ports import free_port
from starting import ZEROSERVE, apart, ours, serving, started

PATIENCE_S = 60


def site(port, word):
    return f"http://127.0.0.1:{port} {{\n\tbind 127.0.0.1\n\trespond {word}\n}}\n"


def ask(port):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as one:
        one.request("GET", "/")
        return one.getresponse().read().decode()


def wait_for(port, word):
    deadline = time.monotonic() + PATIENCE_S
    while ask(port) != word:
        assert time.monotonic() < deadline, f"{word} is never served"
        time.sleep(0.05)


@pytest.fixture
def taken():
    """A port on which somebody else listens."""
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        yield port


def test_a_taken_address_ends_the_start_with_the_cure(tmp_path, taken):
    free = free_port()
    (tmp_path / "Caddyfile").write_text(site(taken, "one") + site(free, "two"))
    ended = subprocess.run(
        [ZEROSERVE, "run", "--admin", "off", "--workers", "1"],
        cwd=tmp_path,
        env=apart(tmp_path),
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE_S * 2,
    )
    assert ended.returncode == 1
    assert "error[ZS0702]" in ended.stderr
    assert f"127.0.0.1:{taken}: Address already in use" in ended.stderr
    assert "= help: end the process that has the port" in ended.stderr
    assert "zeroserve: serving" not in ended.stderr


def test_reload_says_which_address_is_taken_and_goes_on_serving(tmp_path, taken):
    port = free_port()
    admin = tmp_path / "admin.sock"
    (tmp_path / "Caddyfile").write_text(site(port, "before"))
    with started([ZEROSERVE, "run", "--admin", admin, "--workers", "1"], tmp_path, port, admin):
        (tmp_path / "Caddyfile").write_text(site(port, "before") + site(taken, "after"))
        asked = subprocess.run(
            [ZEROSERVE, "reload", "--admin", admin],
            capture_output=True,
            check=False,
            text=True,
            timeout=PATIENCE_S,
        )
        assert asked.returncode == 1
        assert "Address already in use" in asked.stderr
        assert ask(port) == "before"
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_terminal_that_goes_away_ends_no_server(tmp_path):
    port = free_port()
    (tmp_path / "Caddyfile").write_text(site(port, "still"))
    with serving(tmp_path, port) as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(
            signal.SIGUSR1
        )  # Answered after SIGHUP was taken: no other way to know that it was.
        log = tmp_path / "log"
        wait_until(process, lambda: log.read_text().count("zeroserve: serving") == 2)
        assert ask(port) == "still"


def test_sigusr1_while_the_server_starts_is_answered_when_it_serves(tmp_path):
    port = free_port()
    (tmp_path / "Caddyfile").write_text(site(port, "still"))
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(ours(), cwd=tmp_path, env=apart(tmp_path), stdout=out, stderr=out)
    try:
        wait_until(process, lambda: catches(process, signal.SIGTERM))
        process.send_signal(signal.SIGUSR1)
        wait_until(process, lambda: log.read_text().count("zeroserve: serving") == 2)
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_S)


def catches(process, number):
    """Whether the process has a handler for a signal (proc(5), SigCgt)."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("SigCgt:")[2].split()[0], 16) >> (number - 1) & 1


def wait_until(process, condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)


def test_sigusr1_reads_the_caddyfile_again(tmp_path):
    port = free_port()
    (tmp_path / "Caddyfile").write_text(site(port, "before"))
    with serving(tmp_path, port) as process:
        wait_for(port, "before")
        (tmp_path / "Caddyfile").write_text(site(port, "after"))
        process.send_signal(signal.SIGUSR1)
        wait_for(port, "after")
