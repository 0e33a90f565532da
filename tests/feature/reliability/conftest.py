"""`zeroserve run` with its defaults, a recorder behind it, and clients that send bytes as they are."""

import contextlib
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from ports import free_port

sys.path.insert(0, str(Path(__file__).parent))

from recording import Recorder
from starting import serving

# Nobody waits longer for bytes that have to come; deadlines of the engine have a test of their own.
READ_TIMEOUT_S = 60
# Only root may become another user.
collect_ignore = [] if os.geteuid() == 0 else ["test_other_users.py"]
CADDYFILE = """{{
	admin off
	auto_https off
}}
http://:{port} {{
	handle /admin* {{
		respond "denied" 403
	}}
	handle /static {{
		respond "static"
	}}
	reverse_proxy 127.0.0.1:{backend}
}}
"""


@dataclass(frozen=True)
class Site:
    """A running server and what stands behind it."""

    port: int
    recorder: Recorder

    def send(self, payload, *, half_close=True):
        """Send bytes on a connection of their own; return all that comes back until it ends."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=READ_TIMEOUT_S) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(payload)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
            return read_all(connection)


def read_all(connection):
    """Return what comes until the end of the connection, whichever way it ends."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65536):
            received += data
    return received


def statuses(received):
    """Return the status of every answer in a run of answers whose bodies hold no status line."""
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reliability")
    recorder, port = Recorder(), free_port()
    (folder / "Caddyfile").write_text(CADDYFILE.format(port=port, backend=recorder.port))
    with contextlib.closing(recorder), serving(folder, port):
        yield Site(port, recorder)


@pytest.fixture
def site(running):
    """The server, with nothing recorded yet."""
    running.recorder.forget()
    return running
