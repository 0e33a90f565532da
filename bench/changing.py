"""Hot change under load: steady requests and echoing WebSockets while the configuration changes again and
again.

Comes in: a proxy that runs a Caddyfile (ours, or stock Caddy for comparison). Goes out: a `ChangeReport`.
Called by the command line and by the end-to-end test with smaller numbers. Rule: each change alters the
shape of the route program, not its constants only, and counts as made when the answer to `/marker` bears its
number.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.figures import quantile
from bench.guarding import require_free_port
from bench.installing import make_certificate
from bench.loading import Endless, LoadTool, Target, parse_echo_result, parse_load_result
from bench.pinning import choose_cores, stopping
from bench.proxies import Tools
from bench.recording import write_json
from bench.reloading import MARKER_PATH, RELOADING, ReloadingProxy
from bench.running import Stage, serving
from bench.scenes import LOOPBACK, ROUTES, Scene, host_names
from bench.workloads import FOUR_PATHS

CONFIRM_TIMEOUT_S = 20.0
RELOAD_TIMEOUT_S = 60.0
START_TIMEOUT_S = 60.0
POLL_S = 0.002
SETTLE_S = 1.0
BACKENDS = 4
MILLISECONDS = 1000.0


@dataclass(frozen=True, slots=True)
class Demand:
    """What goes on meanwhile, and how many changes are made."""

    changes: int
    rate_per_s: float
    connections: int
    websockets: int


@dataclass(frozen=True, slots=True)
class ChangeReport:
    """What came of it. Times in milliseconds from the call of the reload to the marker in the answer."""

    changes: int
    confirmed: int
    requests: int
    failed_requests: int
    failures: dict[str, int]
    closed_connections: int
    request_p99_us: int | None
    request_max_us: int | None
    echoes: int
    closed_websockets: int
    wrong_echoes: int
    change_p50_ms: float | None
    change_p99_ms: float | None

    def is_clean(self) -> bool:
        """True when every change came through and nobody noticed."""
        lost = self.failed_requests + self.closed_connections + self.closed_websockets + self.wrong_echoes
        return lost == 0 and self.confirmed == self.changes and self.requests > 0


class Marker:
    """Asks a proxy for its version, on a fresh connection each time."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._context = ssl.create_default_context(cafile=str(scene.certificate.certificate))
        self._context.check_hostname = False

    def read(self) -> str | None:
        """What `/marker` answers now; None when there is no answer."""
        connection = http.client.HTTPSConnection(LOOPBACK, self._scene.port, context=self._context, timeout=5)
        with contextlib.closing(connection):
            try:
                connection.request("GET", MARKER_PATH, headers={"Host": self._scene.hosts[0]})
                answer = connection.getresponse()
                return answer.read().decode() if answer.status == 200 else None
            except (OSError, http.client.HTTPException):
                return None

    def wait_for(self, version: int) -> bool:
        """True when the version's marker came in time."""
        deadline = time.monotonic() + CONFIRM_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.read() == str(version):
                return True
            time.sleep(POLL_S)
        return False


def measure_changes(
    proxy: ReloadingProxy, scene: Scene, stage: Stage, demand: Demand, say: Callable[[str], None]
) -> ChangeReport:
    """Start the proxy, load it, change it `demand.changes` times; what was noticed."""
    tool = stage.tool
    with serving(proxy, scene, stage, START_TIMEOUT_S) as running:
        target = running.target(FOUR_PATHS)
        load = tool.until_told(load_command(target, demand))
        sockets = tool.until_told(["websockets", *target.arguments(), "--count", str(demand.websockets)])
        with stopping(load.process), stopping(sockets.process):
            load.wait_for("measuring")
            sockets.wait_for("open")
            times_ms = make_changes(proxy, scene, demand.changes, say)
            time.sleep(SETTLE_S)
            return collect(demand, load, sockets, times_ms)


def load_command(target: Target, demand: Demand) -> list[str]:
    """The steady requests: open loop on keep-alive connections, until told to stop."""
    command = ["load", *target.arguments(), "--connections", str(demand.connections)]
    return [*command, "--rate", f"{demand.rate_per_s:g}", "--warmup-s", "0.5"]


def make_changes(
    proxy: ReloadingProxy, scene: Scene, changes: int, say: Callable[[str], None]
) -> list[float]:
    """Change the configuration so many times; how long each confirmed change took."""
    times_ms = []
    marker = Marker(scene)
    for version in range(1, changes + 1):
        (scene.directory / "Caddyfile.next").write_text(proxy.render(scene, version))
        (scene.directory / "Caddyfile.next").rename(scene.directory / "Caddyfile")
        begun = time.monotonic()
        reload_result = subprocess.run(
            proxy.reload_command(scene),
            capture_output=True,
            text=True,
            check=False,
            timeout=RELOAD_TIMEOUT_S,
        )
        if reload_result.returncode != 0:
            said = (reload_result.stderr or reload_result.stdout).strip()[-300:]
            say(f"change {version} was refused: {said}")
        elif marker.wait_for(version):
            times_ms.append((time.monotonic() - begun) * MILLISECONDS)
        else:
            say(f"change {version} was not seen within {CONFIRM_TIMEOUT_S:g} s")
    return times_ms


def collect(demand: Demand, load: Endless, sockets: Endless, times_ms: list[float]) -> ChangeReport:
    """End the traffic and put everything together."""
    requests = parse_load_result(load.finish())
    echoes = parse_echo_result(sockets.finish())
    return ChangeReport(
        changes=demand.changes,
        confirmed=len(times_ms),
        requests=requests.sent,
        failed_requests=requests.failed,
        failures=dict(requests.failures),
        closed_connections=requests.closed,
        request_p99_us=requests.p99_us,
        request_max_us=requests.max_us,
        echoes=echoes.echoed,
        closed_websockets=echoes.closed + echoes.refused,
        wrong_echoes=echoes.wrong,
        change_p50_ms=quantile(times_ms, 0.5) if times_ms else None,
        change_p99_ms=quantile(times_ms, 0.99) if times_ms else None,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `changes`."""
    parser.add_argument("--proxy", choices=sorted(RELOADING), default="zeroserve")
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--rate", type=float, default=1000.0, help="requests a second in open loop")
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--websockets", type=int, default=50, help="each echoes once a second")
    parser.add_argument("--json", type=Path)


def run(options: argparse.Namespace, tools: Tools, cache: Path, say: Callable[[str], None]) -> int:
    """Measure and print; 0 when nothing failed."""
    cores = choose_cores()
    tool = LoadTool(tools.load, cores.load)
    ports = tuple(range(options.port, options.port + BACKENDS))
    echo_port = options.port + BACKENDS
    for port in (*ports, echo_port):
        require_free_port(port)
    scene = Scene(
        directory=cache / "run" / f"changes-{options.proxy}",
        tls=True,
        port=echo_port + 1,
        admin_port=echo_port + 2,
        hosts=host_names(1),
        routes=ROUTES,
        backend_ports=ports,
        certificate=make_certificate(cache / "certificate"),
    )
    demand = Demand(options.changes, options.rate, options.connections, options.websockets)
    with stopping(tool.backend(ports, echo_port)):
        proxy = RELOADING[options.proxy](tools, echo_port)
        report = measure_changes(proxy, scene, Stage(tool, cores), demand, say)
    print(render(report))
    write_json(options.json, report)
    return 0 if report.is_clean() else 1


def render(report: ChangeReport) -> str:
    """The report for people."""
    failures = f" {report.failures}" if report.failures else ""
    times = "-"
    if report.change_p50_ms is not None and report.change_p99_ms is not None:
        times = f"p50 {report.change_p50_ms:.0f} ms, p99 {report.change_p99_ms:.0f} ms"
    return "\n".join(
        [
            f"changes:            {report.confirmed} of {report.changes} confirmed",
            f"reload to marker:   {times}",
            f"requests:           {report.requests}",
            f"request latency:    p99 {report.request_p99_us} us, max {report.request_max_us} us",
            f"failed requests:    {report.failed_requests}{failures}",
            f"closed connections: {report.closed_connections}",
            f"WebSocket echoes:   {report.echoes}, wrong {report.wrong_echoes}",
            f"closed WebSockets:  {report.closed_websockets}",
        ]
    )
