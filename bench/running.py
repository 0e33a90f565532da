"""One proxy up and serving its scene. Called by the measurements.

Rule: a proxy counts as started when the last host gives its right answer, not when its port is open.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.guarding import require_free_port, require_own_port
from bench.loading import LoadTool, Target
from bench.pinning import Cores, start_pinned, stopping
from bench.proxies.base import Proxy
from bench.scenes import Scene
from bench.workloads import FILE_PATHS, FOUR_PATHS

POLL_S = 0.01
LOG_TAIL_CHARS = 800


class StartError(Exception):
    """A proxy did not come to serve its scene; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where measurements take place: the load generator and the two cores."""

    tool: LoadTool
    cores: Cores


@dataclass(frozen=True, slots=True)
class Running:
    """A proxy that serves. `start_s`: from exec to the right answer of the last host."""

    proxy: Proxy
    scene: Scene
    process: subprocess.Popen[bytes]
    start_s: float

    def target(self, paths: tuple[tuple[str, int], ...] = ()) -> Target:
        """How the load generator reaches it; without `paths` it asks for all that the scene has."""
        paths = paths or (FOUR_PATHS if self.scene.files is None else FILE_PATHS)
        certificate = self.scene.certificate.certificate if self.scene.tls else None
        return Target(self.scene.port, certificate, len(self.scene.hosts), paths)


@contextlib.contextmanager
def serving(proxy: Proxy, scene: Scene, stage: Stage, timeout_s: float) -> Iterator[Running]:
    """Start a proxy on its scene and stop it when the block is left; StartError when it does not serve."""
    write_files(proxy, scene)
    require_free_port(scene.port)
    log = scene.directory / "log"
    with log.open("wb") as output:
        started_at = time.monotonic()
        process = start_pinned(
            proxy.command(scene),
            stage.cores.proxy,
            environment=proxy.environment(scene),
            directory=scene.directory,
            stdout=output,
            stderr=output,
        )
    with stopping(process):
        running = Running(proxy, scene, process, 0.0)
        wait = wait_until_called if scene.grpc else wait_until_right
        wait(running, stage.tool, timeout_s, log)
        start_s = time.monotonic() - started_at
        require_own_port(scene.port, process.pid)
        yield Running(proxy, scene, process, start_s)


def write_files(proxy: Proxy, scene: Scene) -> None:
    """A fresh directory with the proxy's configuration."""
    shutil.rmtree(scene.directory, ignore_errors=True)
    scene.directory.mkdir(parents=True)
    for name, text in proxy.files(scene).items():
        (scene.directory / name).write_text(text)


def wait_until_right(running: Running, tool: LoadTool, timeout_s: float, log: Path) -> None:
    """Wait until the last host answers right; StartError when it does not or the proxy ends."""
    name = running.proxy.name
    with tool.sweep(running.target(), len(running.scene.hosts) - 1, timeout_s) as sweep:
        while not sweep.is_done():
            if running.process.poll() is not None:
                raise StartError(f"{name} ended at its start: {_tail(log)}")
            time.sleep(POLL_S)
        result = sweep.result()
    if result.right != result.hosts:
        fault = result.last_fault
        raise StartError(f"{name} does not serve after {timeout_s:g} s ({fault}): {_tail(log)}")


def wait_until_called(running: Running, tool: LoadTool, timeout_s: float, log: Path) -> None:
    """The same for a scene of gRPC, which has one host."""
    until = time.monotonic() + timeout_s
    while not tool.is_answered(running.target()):
        name = running.proxy.name
        if running.process.poll() is not None:
            raise StartError(f"{name} ended at its start: {_tail(log)}")
        if time.monotonic() > until:
            raise StartError(f"{name} does not serve after {timeout_s:g} s: {_tail(log)}")
        time.sleep(POLL_S)


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-LOG_TAIL_CHARS:].strip()
