"""Many virtual hosts: how long a proxy takes to serve them all, how much memory, what a request costs then.

In: a count. Out: for each proxy, time from start to the right answer of every host, peak memory of its tree
of processes and CPU per request beside one host; ours besides from the last good snapshot, as an agent that
starts anew. Called by the command line. Rule: our cold start has an empty cache, and both cores are the
proxy's.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import multiprocessing
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.guarding import require_free_port, require_own_port
from bench.installing import make_certificate
from bench.loading import LoadError, LoadTool, Target
from bench.pinning import start_pinned, stopping
from bench.processes import ProcessMemory, tree_cpu_s, tree_memory
from bench.proxies import OURS, PROXIES, Proxy, Tools, proxy_named
from bench.recording import write_json
from bench.running import LOG_TAIL_CHARS, StartError, write_files
from bench.scenes import ROUTES, Scene, host_names
from bench.workloads import FOUR_PATHS, Workload

SAMPLE_S = 0.5
POLL_S = 0.05
BACKENDS = 4
# What issue and documentation promise for 100,000 hosts on two cores.
COLD_S_MAX = 120.0
LAST_GOOD_S_MAX = 10.0
TREE_MIB_MAX = 4096.0
ENGINE_MIB_MAX = 300.0
DEARER_PERCENT_MAX = 10.0
ENGINE_NAME = "zeroserve-engin"  # the kernel keeps 15 characters of a process's name


@dataclass(frozen=True, slots=True)
class HostsReport:
    """What one proxy took. `fault`: why it did not come to serve all hosts; figures are then of no use."""

    proxy: str
    start: str
    hosts: int
    seconds_to_all: float
    cpu_s: float
    peak_mib: float
    memory: tuple[ProcessMemory, ...]
    cpu_us: float | None = None
    cpu_us_of_one_host: float | None = None
    fault: str = ""

    def engine_mib(self) -> float:
        """PSS of the engine alone, the larger of the processes that bear its name."""
        return max((one.pss_mib for one in self.memory if one.name == ENGINE_NAME), default=0.0)

    def dearer_percent(self) -> float | None:
        """How much more CPU a request takes than with one host."""
        if self.cpu_us is None or not self.cpu_us_of_one_host:
            return None
        return (self.cpu_us / self.cpu_us_of_one_host - 1) * 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `hosts`."""
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--proxies", default=OURS, help=f"comma-separated, of {','.join(PROXIES)}")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds until it counts as failed")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a measured window; 0 is none")
    parser.add_argument("--json", type=Path)


def run(options: argparse.Namespace, tools: Tools, cache: Path, say: Callable[[str], None]) -> int:
    """Measure and print; 0 when ours served every host within the promised bounds."""
    bench = _Bench(options, LoadTool(tools.load, None), cache, say)
    for port in (*bench.backend_ports, bench.echo_port, bench.port, bench.metrics_port):
        require_free_port(port)
    reports = []
    with stopping(bench.tool.backend(bench.backend_ports, bench.echo_port)):
        for name in options.proxies.split(","):
            say(f"{name}: {options.count:,} hosts")
            reports.append(bench.measure_cold(proxy_named(name, tools)))
            if name == OURS:
                say(f"{name}: from the last good snapshot")
                reports.append(bench.measure_last_good(tools))
    print(render(reports))
    write_json(options.json, reports)
    return 1 if any(list_breaches(report) for report in reports) else 0


@dataclass(frozen=True, slots=True)
class Start:
    """A start under way: the first process must not end, the last one's tree has the port."""

    proxy: str
    kind: str
    processes: tuple[subprocess.Popen[bytes], ...]
    log: Path
    began: float


class _Bench:
    """What all measurements of one run share."""

    def __init__(
        self, options: argparse.Namespace, tool: LoadTool, cache: Path, say: Callable[[str], None]
    ) -> None:
        self.options = options
        self.tool = tool
        self.cache = cache
        self.say = say
        self.certificate = make_certificate(cache / "certificate")
        self.backend_ports = tuple(range(options.port, options.port + BACKENDS))
        self.echo_port, self.port, self.metrics_port = range(
            options.port + BACKENDS, options.port + BACKENDS + 3
        )

    def scene(self, count: int) -> Scene:
        """Plain HTTP, four routes a host."""
        directory = self.cache / "run" / f"hosts-{count}"
        hosts = host_names(count)
        return Scene(
            directory,
            False,
            self.port,
            self.metrics_port,
            hosts,
            ROUTES,
            self.backend_ports,
            self.certificate,
        )

    def measure_cold(self, proxy: Proxy) -> HostsReport:
        """From its configuration files, with nothing cached; then the cost of a request beside one host."""
        scene = self.scene(self.options.count)
        write_files(proxy, scene)
        try:
            with self._serving(proxy, scene) as (process, report):
                cpu_us = self._measure_cost(process, len(scene.hosts))
        except (StartError, LoadError) as error:
            return HostsReport(proxy.name, "cold", 0, 0.0, 0.0, 0.0, (), fault=str(error))
        one = self.scene(1)
        write_files(proxy, one)
        with self._serving(proxy, one) as (process, _):
            cpu_us_of_one = self._measure_cost(process, 1)
        return dataclasses.replace(report, cpu_us=cpu_us, cpu_us_of_one_host=cpu_us_of_one)

    def measure_last_good(self, tools: Tools) -> HostsReport:
        """A supervisor and an agent that finds the last good snapshot; its operator does not answer."""
        scene = self.scene(self.options.count)
        with tempfile.TemporaryDirectory(prefix="zeroserve-bench-", dir=_memory_directory()) as state:
            saving = multiprocessing.get_context("spawn").Process(
                target=save_last_good, args=(scene.directory / "Caddyfile", Path(state))
            )
            saving.start()
            saving.join()
            if saving.exitcode != 0:
                raise StartError("the snapshot could not be made")
            socket = scene.directory / "engine.sock"
            agent = [str(tools.zeroserve), "agent", "--operator", "127.0.0.1:1", "--insecure"]
            agent += ["--node", "bench", "--engine-socket", str(socket), "--state", state]
            agent += ["--cache", str(scene.directory / "cache" / "zeroserve"), "--allow-state-on-disk"]
            agent += ["--metrics-address", "127.0.0.1", "--metrics-port", str(self.metrics_port)]
            engine = subprocess.check_output(
                [
                    str(tools.zeroserve.with_name("python")),
                    "-c",
                    "import zeroserve_engine as e;print(e.find_binary())",
                ]
            )
            began = time.monotonic()
            supervise = [engine.decode().strip(), "supervise", f"--socket={socket}"]
            with stopping(self._start(supervise, scene, "supervisor")) as supervisor:
                _wait_for_file(socket)
                with stopping(self._start(agent, scene, "agent")) as process:
                    log = scene.directory / "agent"
                    return self._sweep(Start(OURS, "last good", (process, supervisor), log, began), scene)

    @contextlib.contextmanager
    def _serving(self, proxy: Proxy, scene: Scene) -> Iterator[tuple[subprocess.Popen[bytes], HostsReport]]:
        began = time.monotonic()
        environment = {**proxy.environment(scene), "XDG_CACHE_HOME": str(scene.directory / "cache")}
        with stopping(self._start(proxy.command(scene), scene, "log", environment)) as process:
            start = Start(proxy.name, "cold", (process,), scene.directory / "log", began)
            yield process, self._sweep(start, scene)

    def _start(
        self, command: Sequence[str], scene: Scene, log: str, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with (scene.directory / log).open("wb") as output:
            return start_pinned(
                command,
                None,
                environment=environment,
                directory=scene.directory,
                stdout=output,
                stderr=output,
            )

    def _sweep(self, start: Start, scene: Scene) -> HostsReport:
        """Ask all hosts until each answered right; StartError when a process ends, or the time does."""
        name, processes = start.proxy, start.processes
        target = Target(scene.port, None, len(scene.hosts), FOUR_PATHS)
        with PeakMemory([one.pid for one in processes]) as peak:
            with self.tool.sweep(target, 0, self.options.timeout) as sweep:
                while not sweep.is_done():
                    if processes[0].poll() is not None:
                        tail = start.log.read_text(errors="replace")[-LOG_TAIL_CHARS:]
                        raise StartError(f"{name} ended: {tail}")
                    time.sleep(POLL_S)
                result = sweep.result()
            seconds = time.monotonic() - start.began
        if result.right < result.hosts:
            missing = f"{result.hosts - result.right} of {result.hosts} hosts are not served"
            raise StartError(f"{name}: {missing} after {seconds:.0f} s ({result.last_fault})")
        require_own_port(scene.port, processes[-1].pid)
        memory = [one for process in processes for one in tree_memory(process.pid)]
        cpu_s = sum(tree_cpu_s(process.pid) for process in processes)
        return HostsReport(name, start.kind, result.hosts, seconds, cpu_s, peak.mib, tuple(memory))

    def _measure_cost(self, process: subprocess.Popen[bytes], hosts: int) -> float | None:
        """CPU of the tree per right answer, in microseconds, over hosts and paths at random."""
        if not self.options.seconds:
            return None
        workload = Workload("hosts", "", False, hosts, 64, False, FOUR_PATHS)
        target = Target(self.port, None, hosts, FOUR_PATHS)
        cpu: list[float] = []

        def note(_: int) -> None:
            cpu.append(tree_cpu_s(process.pid))

        command = self.tool.load_command(target, workload, None, self.options.seconds)
        result = self.tool.measure(command, note, note)
        if result.failed or not result.answered:
            raise LoadError(f"{result.failed} requests failed: {dict(result.failures)}")
        return (cpu[1] - cpu[0]) / result.answered * 1e6


class PeakMemory:
    """Samples the PSS of process trees while its block runs; `mib` is the most that was seen."""

    def __init__(self, roots: Sequence[int]) -> None:
        self.mib = 0.0
        self._roots = roots
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        ended = False
        while not ended:
            ended = self._done.wait(SAMPLE_S)
            now = sum(one.pss_mib for root in self._roots for one in tree_memory(root))
            self.mib = max(self.mib, now)


def save_last_good(caddyfile: Path, directory: Path) -> None:
    """Write what an agent that served the Caddyfile would have kept; for a process of its own."""
    from zeroserve_cli.serving_caddyfiles import load  # noqa: PLC0415  # not in the bench's own process
    from zeroserve_dataplane.last_good import LastGood  # noqa: PLC0415

    draft = load(caddyfile).draft
    if draft is None:
        raise SystemExit(1)
    LastGood(directory, allow_disk=True).save(draft)


def _memory_directory() -> Path | None:
    directory = Path("/dev/shm")
    return directory if directory.is_dir() else None


def _wait_for_file(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not path.exists():
        if time.monotonic() > deadline:
            raise StartError(f"{path} does not come")
        time.sleep(POLL_S)


def list_breaches(report: HostsReport) -> list[str]:
    """What ours does not keep of its promises for 100,000 hosts; nothing is promised of others."""
    if report.proxy != OURS:
        return []
    if report.fault:
        return [report.fault]
    bound_s = COLD_S_MAX if report.start == "cold" else LAST_GOOD_S_MAX
    breaches = []
    if report.seconds_to_all >= bound_s:
        breaches.append(f"{report.seconds_to_all:.1f} s are not under {bound_s:g} s")
    if report.peak_mib > TREE_MIB_MAX:
        breaches.append(f"{report.peak_mib:.0f} MiB at the peak are more than {TREE_MIB_MAX:g} MiB")
    if report.engine_mib() >= ENGINE_MIB_MAX:
        breaches.append(f"the engine's {report.engine_mib():.0f} MiB are not under {ENGINE_MIB_MAX:g} MiB")
    dearer = report.dearer_percent()
    if dearer is not None and dearer >= DEARER_PERCENT_MAX:
        breaches.append(f"a request is {dearer:.0f} % dearer than with one host")
    return breaches


def render(reports: Sequence[HostsReport]) -> str:
    """The reports as a Markdown table, then what was not as promised."""
    rows = [
        "| | start | hosts | s to all | CPU s | peak MiB | engine MiB | CPU µs/request | 1 host | dearer |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for one in reports:
        if one.fault:
            rows.append(
                f"| {one.proxy} | {one.start} | not served: {one.fault.splitlines()[0][:80]} | | | | | | | |"
            )
            continue
        engine = f"{one.engine_mib():.1f}" if one.engine_mib() else ""
        dearer = one.dearer_percent()
        cost = (
            f"{one.cpu_us:.1f} | {one.cpu_us_of_one_host:.1f} | {dearer:+.0f} %"
            if dearer is not None
            else " | | "
        )
        rows.append(
            f"| {one.proxy} | {one.start} | {one.hosts:,} | {one.seconds_to_all:.1f} | {one.cpu_s:.1f} "
            f"| {one.peak_mib:.0f} | {engine} | {cost} |"
        )
    for one in reports:
        parts = sorted(one.memory, key=lambda process: -process.pss_mib)
        rows.append(f"{one.proxy}, {one.start}: " + ", ".join(f"{p.name} {p.pss_mib:.1f} MiB" for p in parts))
    faults = [f"NOT AS PROMISED: {one.start}: {breach}" for one in reports for breach in list_breaches(one)]
    return "\n".join([*rows, *faults])
