"""Our two backends side by side: CPU and system calls of a request on io_uring and on epoll.

In: workloads, rounds. Out: a table, medians and least, both up at a time, windows interleaved. Called by the
command line.
Rule: both are the shipped command with `--io`; system calls are those that the engine counts itself, over the
requests that it counts in the same time.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench.comparing import FILES_NAME, START_TIMEOUT_S, Meter, make_files
from bench.guarding import require_free_port
from bench.loading import LoadTool
from bench.pinning import choose_cores, stopping
from bench.proxies import Tools
from bench.proxies.zeroserve import Zeroserve
from bench.recording import write_json
from bench.running import Running, Stage, serving
from bench.scenes import LOOPBACK, ROUTES, Certificate, Scene, host_names
from bench.workloads import Workload, workload_named

PORTS = 4
CALLS_FEWER = 8.0
"""What we want: system calls of epoll over those of io_uring."""
COUNTER = re.compile(r"^zeroserve_engine_(system_calls|requests)_total(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


class OnUring(Zeroserve):
    """On io_uring, with its counters on the port for administration."""

    name = "io_uring"
    io: ClassVar[str] = "io_uring"

    def command(self, scene: Scene) -> list[str]:
        return [*super().command(scene), "--io", self.io, "--metrics-port", str(scene.admin_port)]


class OnEpoll(OnUring):
    """On epoll."""

    name = "epoll"
    io = "epoll"


@dataclass(frozen=True, slots=True)
class BackendRow:
    """One window. `calls`: system calls of a request."""

    workload: str
    backend: str
    cpu_us: float
    calls: float
    foreign: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `backends`."""
    parser.add_argument("--workloads", default="https,http,grpc,file-100k-https", help="comma-separated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a window")
    parser.add_argument("--json", type=Path)


def run(
    options: argparse.Namespace,
    tools: Tools,
    cache: Path,
    certificate: Certificate,
    say: Callable[[str], None],
) -> int:
    """Measure and print; 0 when io_uring is never dearer and makes so many times fewer system calls."""
    ports = tuple(range(options.port, options.port + PORTS))
    echo_port, first_free = options.port + PORTS, options.port + 2 * PORTS + 1
    grpc_ports = tuple(range(echo_port + 1, first_free))
    for port in (*ports, echo_port, *grpc_ports):
        require_free_port(port)
    cores = choose_cores()
    stage = Stage(LoadTool(tools.load, cores.load), cores)
    rows: list[BackendRow] = []
    with stopping(stage.tool.backend(ports, echo_port, grpc_ports)) as backend:
        for workload in map(workload_named, options.workloads.split(",")):
            directory = cache / "run"
            make_files(directory / FILES_NAME)
            with contextlib.ExitStack() as stack:
                up = []
                for index, proxy in enumerate((OnUring(tools), OnEpoll(tools))):
                    scene = Scene(
                        directory=directory / proxy.name,
                        tls=workload.tls,
                        port=first_free + 2 * index,
                        admin_port=first_free + 2 * index + 1,
                        hosts=host_names(workload.hosts),
                        routes=ROUTES,
                        backend_ports=grpc_ports if workload.grpc else ports,
                        certificate=certificate,
                        files=directory / FILES_NAME if workload.serves_files else None,
                        grpc=workload.grpc,
                    )
                    up.append(stack.enter_context(serving(proxy, scene, stage, START_TIMEOUT_S)))
                for _ in range(options.rounds):
                    rows += [measure(Meter(stage, backend), one, workload, options.seconds) for one in up]
                    say(f"  {workload.name}: " + ", ".join(map(describe, rows[-2:])))
    print(render(rows))
    write_json(options.json, rows)
    return 0 if all(keeps_promise(rows, name) for name in dict.fromkeys(row.workload for row in rows)) else 1


def measure(meter: Meter, running: Running, workload: Workload, seconds: float) -> BackendRow:
    """One closed window of one of the two."""
    before = read_counters(running.scene.admin_port)
    window = meter.window(running, workload, None, seconds)
    after = read_counters(running.scene.admin_port)
    requests = after["requests"] - before["requests"]
    calls = (after["system_calls"] - before["system_calls"]) / requests if requests else 0.0
    return BackendRow(
        workload.name, running.proxy.name, window.cpu_us_per_request or 0.0, calls, window.foreign
    )


def read_counters(port: int) -> dict[str, float]:
    """The engine's counters of system calls and requests, as its agent tells them."""
    with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=10) as answer:
        return parse_counters(answer.read().decode())


def parse_counters(text: str) -> dict[str, float]:
    """`system_calls` and `requests` in the text format of Prometheus, summed over labels."""
    counters = {"system_calls": 0.0, "requests": 0.0}
    for name, value in COUNTER.findall(text):
        counters[name] += float(value)
    return counters


def describe(row: BackendRow) -> str:
    """One line's half."""
    return f"{row.backend} {row.cpu_us:.1f} us CPU, {row.calls:.3f} calls"


def take(rows: Sequence[BackendRow], workload: str) -> Mapping[str, list[BackendRow]]:
    """The rows of one workload by backend."""
    of_both = [row for row in rows if row.workload == workload]
    return {name: [row for row in of_both if row.backend == name] for name in (OnUring.name, OnEpoll.name)}


def keeps_promise(rows: Sequence[BackendRow], workload: str) -> bool:
    """io_uring's median CPU is at most epoll's, and its system calls are so many times fewer."""
    found = take(rows, workload)
    cpu, calls = (
        {name: statistics.median(getattr(row, what) for row in found[name]) for name in found}
        for what in ("cpu_us", "calls")
    )
    is_cheaper: bool = cpu[OnUring.name] <= cpu[OnEpoll.name]
    are_fewer: bool = calls[OnEpoll.name] >= CALLS_FEWER * calls[OnUring.name]
    return is_cheaper and are_fewer


def render(rows: Sequence[BackendRow]) -> str:
    """The table for people."""
    lines = [
        "| workload | backend | CPU µs/request (least..most) | system calls/request | others' cores |",
        "|---|---|---:|---:|---:|",
    ]
    for workload in dict.fromkeys(row.workload for row in rows):
        for name, of_one in take(rows, workload).items():
            cpu = [row.cpu_us for row in of_one]
            calls = statistics.median(row.calls for row in of_one)
            foreign = max(row.foreign for row in of_one)
            spread = f"{statistics.median(cpu):.1f} ({min(cpu):.1f}..{max(cpu):.1f})"
            lines.append(f"| {workload} | {name} | {spread} | {calls:.3f} | {foreign:.2f} |")
    return "\n".join(lines)
