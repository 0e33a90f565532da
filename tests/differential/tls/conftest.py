"""One Caddyfile of TLS policies, served by stock Caddy and by us."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ports import free_ports
from signing import write_certificates

CADDYFILE = Path(__file__).with_name("Caddyfile")
BIN = Path(sys.executable).parent
COMMANDS = {
    "caddy": [BIN / "caddy", "run", "--adapter", "caddyfile", "--config", "Caddyfile"],
    "zeroserve": [BIN / "zeroserve", "run", "--config", "Caddyfile", "--admin", "off", "--workers", "2"],
}
START_TIMEOUT_S = 60


class Server:
    def __init__(self, name, folder, certificates):
        self.folder = folder
        self.port, self.policies = free_ports(2)
        text = CADDYFILE.read_text()
        for variable, value in {"PORT": self.port, "POLICIES": self.policies, "FOLDER": certificates}.items():
            text = text.replace(f"{{${variable}}}", str(value))
        (folder / "Caddyfile").write_text(text)
        environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "PATH": os.environ["PATH"]}
        environment |= {name: value for name, value in os.environ.items() if name == "ZEROSERVE_ENGINE"}
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                COMMANDS[name], cwd=folder, env=environment, stdout=log, stderr=log
            )

    def wait(self):
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail((self.folder / "log").read_text())
            with contextlib.suppress(OSError):
                for port in (self.port, self.policies):
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            time.sleep(0.05)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    write_certificates(folder)
    return folder


@pytest.fixture(scope="session")
def servers(tmp_path_factory, certificates):
    """Both servers, serving, by name."""
    started = {}
    try:
        for name in COMMANDS:
            started[name] = Server(name, tmp_path_factory.mktemp(name), certificates)
        for server in started.values():
            server.wait()
        yield started
    finally:
        for server in started.values():
            server.end()
