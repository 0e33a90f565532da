"""A node that serves a Caddyfile with plugins of assembly text."""

import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from ports import free_port

ZEROSERVE = Path(sys.executable).parent / "zeroserve"
START_TIMEOUT_S = 60


class Node:
    """Where it listens, and what it has logged."""

    def __init__(self, port, log):
        self.port = port
        self.log = log

    def ask(self, path, method="GET", body=None, **headers):
        """Return status, fields and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, fields)
        answer = connection.getresponse()
        content = answer.read().decode()
        connection.close()
        return answer.status, answer.headers, content


@contextlib.contextmanager
def serve(directory, options, site, plugins):
    """Serve a site at a port of its own; `plugins` are texts by file name."""
    port = free_port()
    for name, text in plugins.items():
        (directory / name).write_text(text)
    options = f"{{\n\tadmin off\n\tauto_https off\n{options}\n}}\n"
    (directory / "Caddyfile").write_text(options + f"http://:{port} {{\n{site}\n}}\n")
    log = directory / "log"
    with log.open("wb") as out:
        command = [ZEROSERVE, "run", "--config", "Caddyfile", "--admin", "off", "--workers", "1"]
        node = subprocess.Popen(command, cwd=directory, stdout=out, stderr=out)
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while time.monotonic() < deadline and node.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            assert node.poll() is None, log.read_text()
            yield Node(port, log)
        finally:
            node.send_signal(signal.SIGTERM)
            node.wait(timeout=30)
