"""The comparison itself: every proxy up at a time, rounds interleaved (A B C A B C), each window guarded.

Comes in: a plan, tools, proxies. Goes out: `Measurement` records. Called by the command line. Rule: a window
in which others took CPU is measured again, and is marked when no quiet one was found; a proxy that fails to
start or to answer is a record with its error, and the others go on.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.figures import can_hold, common_rate
from bench.guarding import FOREIGN_CORES_MAX, GuardError, foreign_cores
from bench.loading import LoadError, LoadResult
from bench.processes import ProcessMemory, read_core_times, tree_cpu_s, tree_memory
from bench.proxies import Proxy
from bench.running import Running, Stage, StartError, serving
from bench.scenes import ROUTES, Certificate, Scene, host_names
from bench.workloads import FILES, Workload

CALIBRATION_S = 1.0
MICROSECONDS = 1_000_000
START_TIMEOUT_S = 180.0
PORTS_PER_PROXY = 2
# Below the plan's directory; no proxy has this name.
FILES_NAME = "files"


@dataclass(frozen=True, slots=True)
class Plan:
    """How to measure. `tries`: windows at most for one quiet one; `rate_per_s`: None to find a common one."""

    workloads: tuple[Workload, ...]
    rounds: int
    seconds: float
    tries: int
    rate_per_s: float | None
    first_port: int
    backend_ports: tuple[int, ...]
    grpc_ports: tuple[int, ...]
    access_log: bool
    directory: Path


@dataclass(frozen=True, slots=True)
class Window:
    """One measured window. CPU in seconds; `foreign`: others' share of the two cores, in cores."""

    load: LoadResult
    proxy_cpu_s: float
    client_cpu_s: float
    foreign: float

    @property
    def cpu_us_per_request(self) -> float | None:
        """CPU of the proxy's tree per right answer, in microseconds; None when nothing was answered."""
        return self.proxy_cpu_s * MICROSECONDS / self.load.answered if self.load.answered else None

    @property
    def requests_per_s(self) -> float:
        """Right answers a second."""
        return self.load.answered / self.load.seconds


@dataclass(frozen=True, slots=True)
class Measurement:
    """One proxy in one round of one workload. `paced` is None when it cannot hold the common rate."""

    workload: str
    proxy: str
    round: int
    start_s: float
    full: Window
    paced: Window | None
    paced_rate_per_s: float
    memory: tuple[ProcessMemory, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """A proxy that could not be measured for a workload, and why."""

    workload: str
    proxy: str
    error: str


@dataclass(slots=True)
class Records:
    """All that was found, in order."""

    measurements: list[Measurement]
    failures: list[Failure]


class Meter:
    """Measures one running proxy at a time; knows who else belongs to the measurement."""

    def __init__(self, stage: Stage, backend: subprocess.Popen[bytes]) -> None:
        self._tool = stage.tool
        self._cores = stage.cores
        self._backend = backend

    def window(
        self, running: Running, workload: Workload, rate_per_s: float | None, seconds: float
    ) -> Window:
        """Load the proxy for one window."""
        command = self._tool.load_command(running.target(workload.paths), workload, rate_per_s, seconds)
        cores = {self._cores.proxy, self._cores.load}
        readings: list[tuple[float, float]] = []
        core_times = []

        def read(load_pid: int) -> None:
            own = os.times()
            # Our own children are counted by name, not by os.times: they are not reaped yet.
            client = tree_cpu_s(load_pid) + tree_cpu_s(self._backend.pid) + own.user + own.system
            readings.append((tree_cpu_s(running.process.pid), client))
            core_times.append(read_core_times())

        load = self._tool.measure(command, read, read)
        proxy_cpu_s = readings[1][0] - readings[0][0]
        client_cpu_s = readings[1][1] - readings[0][1]
        foreign = foreign_cores(core_times[0], core_times[1], cores, proxy_cpu_s + client_cpu_s)
        return Window(load, proxy_cpu_s, client_cpu_s, foreign)

    def quiet_window(
        self, running: Running, workload: Workload, rate_per_s: float | None, plan: Plan
    ) -> Window:
        """The first window that nobody disturbed, else the least disturbed of `plan.tries`."""
        windows = []
        for _ in range(plan.tries):
            windows.append(self.window(running, workload, rate_per_s, plan.seconds))
            if windows[-1].foreign <= FOREIGN_CORES_MAX:
                break
        return min(windows, key=lambda window: window.foreign)


class Comparison:
    """Runs a plan over proxies; `say` gets a line for each thing found."""

    def __init__(
        self,
        plan: Plan,
        stage: Stage,
        backend: subprocess.Popen[bytes],
        certificate: Certificate,
        say: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._stage = stage
        self._meter = Meter(stage, backend)
        self._certificate = certificate
        self._say = say
        self.records = Records([], [])

    def run(self, proxies: Sequence[Proxy]) -> Records:
        """Measure every workload; the records."""
        for workload in self._plan.workloads:
            self._say(f"{workload.name}: {workload.title}")
            with contextlib.ExitStack() as stack:
                self._measure(workload, self._start(workload, proxies, stack))
        return self.records

    def _start(
        self, workload: Workload, proxies: Sequence[Proxy], stack: contextlib.ExitStack
    ) -> list[Running]:
        running = []
        if workload.serves_files:
            make_files(self._plan.directory / FILES_NAME)
        for index, proxy in enumerate(proxies):
            if workload.serves_files and not proxy.serves_files:
                continue
            scene = self._scene(workload, proxy, index)
            try:
                entered = serving(proxy, scene, self._stage, START_TIMEOUT_S)
                running.append(stack.enter_context(entered))
            except (StartError, GuardError, LoadError, OSError) as error:
                self._fail(workload, proxy, error)
                continue
            self._say(f"  {proxy.name} serves {len(scene.hosts)} hosts after {running[-1].start_s:.2f} s")
        return running

    def _scene(self, workload: Workload, proxy: Proxy, index: int) -> Scene:
        port = self._plan.first_port + index * PORTS_PER_PROXY
        return Scene(
            directory=self._plan.directory / proxy.name,
            tls=workload.tls,
            port=port,
            admin_port=port + 1,
            hosts=host_names(workload.hosts),
            routes=ROUTES,
            backend_ports=self._plan.grpc_ports if workload.grpc else self._plan.backend_ports,
            certificate=self._certificate,
            files=self._plan.directory / FILES_NAME if workload.serves_files else None,
            grpc=workload.grpc,
            access_log=self._plan.access_log and proxy.pinned is None,
        )

    def _measure(self, workload: Workload, running: list[Running]) -> None:
        maxima = self._calibrate(workload, running)
        if not maxima:
            return
        rate = self._plan.rate_per_s or common_rate(maxima)
        if not workload.grpc:
            self._say(f"  latencies at {rate:,.0f} requests/s for all")
        for round_number in range(1, self._plan.rounds + 1):
            for one in running:
                if one.proxy.name not in maxima:
                    continue
                try:
                    measured = self._measure_one(workload, one, round_number, maxima[one.proxy.name], rate)
                except (LoadError, OSError) as error:
                    self._fail(workload, one.proxy, error)
                    del maxima[one.proxy.name]
                    continue
                self.records.measurements.append(measured)
                self._say(f"  round {round_number} {describe(measured)}")

    def _calibrate(self, workload: Workload, running: list[Running]) -> dict[str, float]:
        """Each proxy's maximum, roughly; those that answer nothing right are failures."""
        maxima = {}
        for one in running:
            try:
                window = self._meter.window(one, workload, None, CALIBRATION_S)
            except (LoadError, OSError) as error:
                self._fail(workload, one.proxy, error)
                continue
            if window.load.answered == 0:
                self._fail(workload, one.proxy, ValueError(f"no right answer: {dict(window.load.failures)}"))
                continue
            maxima[one.proxy.name] = window.requests_per_s
        return maxima

    def _measure_one(
        self, workload: Workload, one: Running, round_number: int, maximum: float, rate: float
    ) -> Measurement:
        full = self._meter.quiet_window(one, workload, None, self._plan)
        is_paced = can_hold(maximum, rate) and not workload.grpc
        paced = self._meter.quiet_window(one, workload, rate, self._plan) if is_paced else None
        return Measurement(
            workload=workload.name,
            proxy=one.proxy.name,
            round=round_number,
            start_s=one.start_s,
            full=full,
            paced=paced,
            paced_rate_per_s=rate,
            memory=tuple(tree_memory(one.process.pid)),
        )

    def _fail(self, workload: Workload, proxy: Proxy, error: Exception) -> None:
        self.records.failures.append(Failure(workload.name, proxy.name, str(error)))
        self._say(f"  {proxy.name} FAILED: {error}")


def make_files(directory: Path) -> None:
    """The files of `FILES`, all alike for every proxy."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, length in FILES.items():
        (directory / name).write_bytes(b"zeroserve bench\n" * (length // 16))


def describe(measured: Measurement) -> str:
    """One line on one measurement."""
    cpu = measured.full.cpu_us_per_request
    parts = [f"{measured.proxy}: {measured.full.requests_per_s:,.0f} requests/s"]
    parts.append(f"{cpu:.1f} us CPU" if cpu is not None else "no answer")
    if measured.paced is not None:
        parts.append(f"p50 {measured.paced.load.p50_us} us, p99 {measured.paced.load.p99_us} us")
    parts.append(f"{sum(process.pss_mib for process in measured.memory):.1f} MiB")
    failed = measured.full.load.failed + (measured.paced.load.failed if measured.paced else 0)
    if failed:
        parts.append(f"{failed} FAILED")
    noise = statistics.fmean(
        window.foreign for window in (measured.full, measured.paced) if window is not None
    )
    if noise > FOREIGN_CORES_MAX:
        parts.append(f"disturbed ({noise:.2f} cores)")
    return ", ".join(parts)
