"""Servers as their users start them: in a folder, waited for until they listen, ended by SIGTERM.

A test that needs `zeroserve run` takes `serving`; one that needs another server, stock Caddy for example,
takes `started`. What the process prints is in `log` of its folder, and is shown where it does not serve.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
ZEROSERVE = BIN / "zeroserve"
START_TIMEOUT_S = 120
END_TIMEOUT_S = 60


@contextlib.contextmanager
def serving(folder, *ports, options=(), **more):
    """Run the Caddyfile of a folder with one worker; yields the process when the ports are open."""
    command = [ZEROSERVE, "run", "--config", "Caddyfile", "--admin", "off", "--workers", "1", *options]
    with started(command, folder, *ports, **more) as process:
        yield process


@contextlib.contextmanager
def started(command, folder, *ports, environment=None):
    """Run a command in a folder; yields the process when the ports are open."""
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        wait_for(ports, process, log)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=END_TIMEOUT_S)


def wait_for(ports, process, log):
    """Return when all ports are open; fail with what the process printed when it ends or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        with contextlib.suppress(OSError):
            for port in ports:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(log.read_text())
        time.sleep(0.05)


def apart(folder, **more):
    """Return an environment in which nothing of this user's home is read or written."""
    kept = {name: os.environ[name] for name in ("PATH", "ZEROSERVE_ENGINE") if name in os.environ}
    return kept | {"HOME": str(folder), "XDG_DATA_HOME": str(folder)} | more
