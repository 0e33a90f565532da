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
TOUCH_TIMEOUT_S = 5
SERVING = "zeroserve: serving"
"""What `zeroserve run` says once every listener is open."""
STOCK_CADDY = (BIN / "caddy", "run", "--adapter", "caddyfile", "--config", "Caddyfile")


def ours(config="Caddyfile", workers=1):
    """Return the command that serves a configuration of the folder it is started in."""
    return (ZEROSERVE, "run", "--config", config, "--admin", "off", "--workers", str(workers))


@contextlib.contextmanager
def serving(folder, *ports, options=(), **more):
    """Run the Caddyfile of a folder with one worker; yields the process when all of it is served."""
    with started([*ours(), *options], folder, *ports, said=SERVING, **more) as process:
        yield process


@contextlib.contextmanager
def side_by_side(tmp_path_factory, text, make_values, waited, *, workers=1, variables=None):
    """Serve a text by stock Caddy and by ours, each in a folder of its own; yields the values of both.

    `make_values(folder)` says what stands for each `{$NAME}`; the places that names in `waited` stand for are
    waited for, all that a test asks: Caddy opens them one by one. `variables` are in the environment of both.
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
            places = [values[one] for one in waited]
            environment = apart(folder, **(variables or {}))
            stack.enter_context(started(command, folder, *places, environment=environment))
            found.append(values)
        yield found


@contextlib.contextmanager
def started(command, folder, *places, environment=None, said=""):
    """Run a command in a folder; yields the process when its places are open and it said what it has to.

    A place is a port of 127.0.0.1, an (address, port), or the path of a Unix socket.
    """
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        wait_for(places, process, log, said)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=END_TIMEOUT_S)


def wait_for(places, process, log, said):
    """Return when all is open and said; fail with what the process printed when it ends or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        with contextlib.suppress(OSError):
            for place in places:
                touch(place)
            if said in log.read_text(errors="replace"):
                return
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(log.read_text(errors="replace"))
        time.sleep(0.05)


def touch(place):
    """Connect to a place and leave; OSError where nobody listens."""
    if isinstance(place, Path):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TOUCH_TIMEOUT_S)
            connection.connect(os.fspath(place))
        return
    address = place if isinstance(place, tuple) else ("127.0.0.1", place)
    socket.create_connection(address, timeout=TOUCH_TIMEOUT_S).close()


def replace(path, text):
    """Write a file that a server watches: at no moment is there half of it."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.rename(path)


def apart(folder, **more):
    """Return an environment in which nothing of this user's home is read or written."""
    kept = {name: os.environ[name] for name in ("PATH", "ZEROSERVE_ENGINE") if name in os.environ}
    return kept | {"HOME": str(folder), "XDG_DATA_HOME": str(folder)} | more
