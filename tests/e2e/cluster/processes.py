"""Long-running processes of a cluster: started into its namespaces, noted and ended by pid."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .places import ClusterError, Places

STOP_SECONDS = 10.0
POLL_SECONDS = 0.05


def inside(places: Places, command: Sequence[str]) -> list[str]:
    """Return the command as it runs in the cluster's network namespace.

    nsenter and not `ip netns exec`: the latter remounts /sys, which hides the cgroups from kubelet and runc.
    """
    return ["nsenter", f"--net={places.netns}", *command]


def start(places: Places, name: str, command: Sequence[str], env: Mapping[str, str]) -> None:
    """Start a process in the background, its output in NAME.log and its pid in NAME.pid; it outlives us."""
    with (places.run / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=dict(env)
        )
    _pid_file(places, name).write_text(str(process.pid))


def stop(places: Places, name: str) -> None:
    """End the process in NAME.pid if it is still the one that we started."""
    pid = _alive(places, name)
    deadline = time.monotonic() + STOP_SECONDS
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
    while pid is not None and _alive(places, name) is not None:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_SECONDS)
    _pid_file(places, name).unlink(missing_ok=True)


def started(places: Places, name: str) -> bool:
    """Tell whether NAME was started here and still runs."""
    return _alive(places, name) is not None


def wait_until(places: Places, name: str, seconds: float, ready: Callable[[], bool]) -> None:
    """Wait until `ready`; NAME is the process that must stay alive meanwhile."""
    deadline = time.monotonic() + seconds
    while not ready():
        if _alive(places, name) is None:
            raise ClusterError(f"{name} has ended:\n{_log_end(places, name)}")
        if time.monotonic() > deadline:
            raise ClusterError(f"{name} is not ready after {seconds:.0f} s:\n{_log_end(places, name)}")
        time.sleep(POLL_SECONDS)


def _alive(places: Places, name: str) -> int | None:
    """Return the pid if that process is ours: it has the run folder in its arguments (a zombie has none)."""
    try:
        pid = int(_pid_file(places, name).read_text())
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return pid if os.fsencode(places.run) in arguments else None


def _pid_file(places: Places, name: str) -> Path:
    return places.run / f"{name}.pid"


def _log_end(places: Places, name: str) -> str:
    lines = (places.run / f"{name}.log").read_text(errors="replace").splitlines()
    return "\n".join(lines[-8:])
