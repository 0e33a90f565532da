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
STOCK_CADDY = (BIN / "caddy", "run", "--adapter", "caddyfile", "--config", "Caddyfile")


def ours(config="Caddyfile", workers=1):
    """Return the command that serves a configuration of the folder it is started in."""
    return (ZEROSERVE, "run", "--config", config, "--admin", "off", "--workers", str(workers))


@contextlib.contextmanager
def serving(folder, *ports, options=(), **more):
    """Run the Caddyfile of a folder with one worker; yields the process when the ports are open."""
    with started([*ours(), *options], folder, *ports, **more) as process:
        yield process


@contextlib.contextmanager
def side_by_side(tmp_path_factory, text, make_values, waited, *, workers=1, variables=None):
    """Serve a text by stock Caddy and by ours, each in a folder of its own; yields the values of both.

    `make_values(folder)` says what stands for each `{$NAME}`; ports of the names in `waited` are waited for;
    `variables` are in the environment of both.
    """
    found = []
    with contextlib.ExitStack() as stack:
        for name, command in (("caddy", STOCK_CADDY), ("zeroserve", ours(workers=workers))):
            folder = tmp_path_factory.mktemp(name)
            values = make_values(folder)
            written = text
            for variable, value in values.items():
                written = written.replace(f"{{${variable}}}", str(value))
            (folder / "Caddyfile").write_text(written)
            ports = [values[one] for one in waited]
            environment = apart(folder, **(variables or {}))
            stack.enter_context(started(command, folder, *ports, environment=environment))
            found.append(values)
        yield found


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
