"""Ports for servers that a test starts: free, and given to no other test on this machine.

They lie below the kernel's ephemeral range, so no connection takes one between choice and use, each parallel
worker draws from a range of its own, and other runs of this user see by a lock that a port is given. All of
it matters: servers listen with SO_REUSEPORT, by which a second one on the same port does not fail but answers
half of the first one's requests.
"""

import fcntl
import itertools
import os
import random
import socket
import tempfile
from pathlib import Path

_FIRST, _COUNT = 12_000, 5_000
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
_range = range(_FIRST + _worker * _COUNT, _FIRST + (_worker + 1) * _COUNT)
_candidates = itertools.islice(itertools.cycle(_range), random.SystemRandom().randrange(_COUNT), None)
_given = (Path(tempfile.gettempdir()) / f"zeroserve-test-ports-{os.getuid()}").open("wb")
"""Its byte at a port's number is locked while the process lives that was given the port."""


def free_port() -> int:
    """Return a TCP port of loopback where nobody listens."""
    while True:
        port = next(_candidates)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                fcntl.lockf(_given, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            except OSError:
                continue
            return port


def free_ports(count: int) -> list[int]:
    """Return distinct ports as `free_port` does."""
    return [free_port() for _ in range(count)]
