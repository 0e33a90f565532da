"""Guards of a fair measurement: nobody else on the port, nobody else on the cores.

Called by `comparing` before a proxy starts, after it has started, and around each measured window.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.processes import PROC, TICKS_PER_S, CoreTimes, read_tree
from bench.scenes import LOOPBACK

# Others' share of the two cores, in cores, above which a window is measured again.
FOREIGN_CORES_MAX = 0.10
LISTEN_STATE = "0A"


class GuardError(Exception):
    """The measurement would not be fair; the message says who is in the way."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening TCP socket: its port and socket inode."""

    port: int
    inode: int


def parse_listeners(proc_net_tcp: str) -> list[Listener]:
    """The listening sockets of `/proc/net/tcp` or `tcp6`, proc_net_tcp(5)."""
    listeners = []
    for line in proc_net_tcp.splitlines()[1:]:
        fields = line.split()
        if fields[3] == LISTEN_STATE:
            listeners.append(Listener(int(fields[1].rsplit(":", 1)[1], 16), int(fields[9])))
    return listeners


def read_listeners(port: int) -> list[Listener]:
    """Who listens on `port` in this network namespace, IPv4 and IPv6."""
    found = []
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            found += parse_listeners((PROC / "net" / table).read_text())
    return [listener for listener in found if listener.port == port]


def require_free_port(port: int) -> None:
    """Raise GuardError when anything listens on `port`: with SO_REUSEPORT it would share our connections."""
    if not read_listeners(port):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError as error:
                raise GuardError(f"port {port} cannot be bound: {error.strerror}") from error
            return
    raise GuardError(f"port {port} is in use; end what listens there or choose others with --port")


def require_own_port(port: int, root: int) -> None:
    """Raise GuardError unless every listener on `port` belongs to the process tree under `root`."""
    inodes = {listener.inode for listener in read_listeners(port)}
    own: set[int] = set()
    for stat in read_tree(root):
        own |= socket_inodes(stat.pid)
    if not inodes:
        raise GuardError(f"nobody listens on port {port}")
    if inodes - own:
        raise GuardError(f"port {port} is shared with a process that is not the measured proxy")


def socket_inodes(pid: int) -> set[int]:
    """Inodes of the sockets that a process holds; needs its user's rights."""
    inodes = set()
    with contextlib.suppress(OSError):
        for descriptor in (PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                link = os.readlink(descriptor)
                if link.startswith("socket:["):
                    inodes.add(int(link[8:-1]))
    return inodes


def foreign_cores(
    before: dict[int, CoreTimes], after: dict[int, CoreTimes], cores: set[int], own_cpu_s: float
) -> float:
    """CPU that others took of `cores` between two readings, in cores; never negative.

    `own_cpu_s`: CPU seconds of everything that belongs to the measurement in the same time.
    """
    busy_ticks = sum(after[core].busy_ticks - before[core].busy_ticks for core in cores)
    elapsed_ticks = max(after[core].total_ticks - before[core].total_ticks for core in cores)
    if elapsed_ticks <= 0:
        return 0.0
    return max(0.0, (busy_ticks - own_cpu_s * TICKS_PER_S) / elapsed_ticks)


@contextlib.contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold the lock file: two measurements at a time would measure each other."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
