"""A node that serves a Caddyfile with plugins of assembly text."""

import contextlib
import http.client
import time

from ports import free_port
from starting import serving

PATIENCE_S = 60


class Node:
    """Where it listens, and what it has logged."""

    def __init__(self, port, log, process):
        self.port = port
        self.log = log
        self.process = process

    def ask(self, path, method="GET", body=None, **headers):
        """Return status, fields and body of an answer; it may come before the request is whole."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, path, body, fields)
        answer = connection.getresponse()
        content = answer.read().decode()
        connection.close()
        return answer.status, answer.headers, content

    def wait_for_line(self, part):
        """Return the log once a text is in it: lines may come after the answer."""
        deadline = time.monotonic() + PATIENCE_S
        while part not in (log := self.log.read_text(errors="replace")):
            assert time.monotonic() < deadline, log
            time.sleep(0.02)
        return log


@contextlib.contextmanager
def serve(directory, options, site, plugins, arguments=()):
    """Serve a site at a port of its own; `plugins` are texts by file name, `arguments` of `run`."""
    port = free_port()
    for name, text in plugins.items():
        (directory / name).write_text(text)
    options = f"{{\n\tadmin off\n\tauto_https off\n{options}\n}}\n"
    (directory / "Caddyfile").write_text(options + f"http://:{port} {{\n{site}\n}}\n")
    with serving(directory, port, options=arguments) as process:
        yield Node(port, directory / "log", process)
