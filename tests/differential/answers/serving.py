"""Stock Caddy and `zeroserve run`, each serving cases from one Caddyfile."""

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
from tables import CASES, case_names

BIN = Path(sys.executable).parent
START_TIMEOUT_S = 60
HEAD = "{\n\tadmin off\n\tauto_https off\n}\n"


class Server:
    """A server of all cases; `port(case, tls)` is where a case answers."""

    def __init__(self, name, command, folder, variables, *, head=HEAD, names=None):
        self.name = name
        self.folder = folder
        names = names or case_names()
        ports = free_ports(2 * len(names))
        self.ports = dict(zip(names, zip(ports[::2], ports[1::2], strict=True), strict=True))
        texts = [head]
        for case, (plain, tls) in self.ports.items():
            text = (CASES / f"{case}.caddyfile").read_text()
            for variable, value in {**variables, "PORT": plain, "TLS_PORT": tls}.items():
                text = text.replace(f"{{${variable}}}", str(value))
            texts.append(text)
        (folder / "Caddyfile").write_text("\n".join(texts))
        self.log = (folder / "log").open("wb")
        environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "PATH": os.environ["PATH"]}
        environment |= {
            "ZEROSERVE_TEST_WORD": "a {method} b",
            "ZEROSERVE_TEST_PORT": str(variables["ONE"]),
            "ZEROSERVE_TEST_USER": "alice",
            "ZEROSERVE_TEST_HASH": variables["HASH"],
        }
        environment |= {name: value for name, value in os.environ.items() if name == "ZEROSERVE_ENGINE"}
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=self.log, stderr=self.log, start_new_session=True
        )

    def port(self, case, tls):
        return self.ports[case][tls]

    def wait(self):
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{self.name} does not serve:\n{(self.folder / 'log').read_text()}")
            with contextlib.suppress(OSError):
                for plain, _ in self.ports.values():
                    socket.create_connection(("127.0.0.1", plain), timeout=1).close()
                return
            time.sleep(0.05)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=20)
        finally:
            self.log.close()


@contextlib.contextmanager
def serving(tmp_path_factory, variables, **options):
    """Start both servers, stock Caddy and ours, with the options of `Server`; end them."""
    caddy = [BIN / "caddy", "run", "--adapter", "caddyfile", "--config", "Caddyfile"]
    ours = [BIN / "zeroserve", "run", "--config", "Caddyfile", "--admin", "off", "--workers", "1"]
    started = []
    try:
        for name, command in (("caddy", caddy), ("zeroserve", ours)):
            started.append(Server(name, command, tmp_path_factory.mktemp(name), variables, **options))
        for server in started:
            server.wait()
        yield started
    finally:
        for server in started:
            server.end()
