"""Starts and ends the measured processes: on their core, in a session of their own, dying with us.

Called by the measurements. Rule: only processes that were started here are ever signalled.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.processes import read_tree

PRIORITY = -15
STOP_TIMEOUT_S = 10.0
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Cores:
    """The core of the proxy, and the core that load generator and backend share."""

    proxy: int
    load: int


def choose_cores() -> Cores:
    """The first two cores that this process may use; ValueError when there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise ValueError("two cores are needed: one for the proxy, one for load and backend")
    return Cores(allowed[0], allowed[1])


def start_pinned(
    command: Sequence[str],
    core: int | None,
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` on `core` (None: any), first in line where we may raise priorities."""

    libc = ctypes.CDLL(None)

    def prepare() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
            # With autogroups a nice value counts within the session only; this weighs the session itself.
            Path("/proc/self/autogroup").write_text(str(PRIORITY))

    return subprocess.Popen(
        command,
        cwd=directory,
        env={**os.environ, **(environment or {})},
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        preexec_fn=prepare,  # noqa: PLW1509 - this program has one thread
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that `start_pinned` started, and whatever of its tree outlives it."""
    if process.poll() is not None:
        return
    tree = read_tree(process.pid)
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for member in tree[1:]:
        # The name tells a survivor from a stranger that was given its number.
        if any(now.name == member.name for now in read_tree(member.pid)[:1]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(member.pid, signal.SIGKILL)


@contextlib.contextmanager
def stopping(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The process, ended when the block is left."""
    try:
        yield process
    finally:
        stop(process)
