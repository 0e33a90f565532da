"""Processes of compile workers: started here, spoken to by `workers`.

In: nothing. Out: a process and the socket of its frames. Called by `workers`, and by `zeroserve run` before
it has loaded itself: meanwhile a worker gets warm on another core. The rule: imports next to nothing.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A worker that was started; it ends with the socket, whoever holds that."""

    process: subprocess.Popen[bytes]
    socket: socket.socket
    """Ours of the pair: jobs out, replies in."""

    def close(self) -> None:
        """Let go of it, where nobody took it over."""
        self.socket.close()


def start_process() -> WorkerProcess:
    """Start a worker, which is not warm yet; raises OSError."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = subprocess.Popen(
                # Without `site`: PYTHONPATH has what it would look for.
                [sys.executable, "-S", "-m", "zeroserve_dataplane.jit.serving"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PATH": os.defpath},
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
    return WorkerProcess(process, ours)
