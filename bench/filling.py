"""Start with many Ingresses: from the start of `zeroserve dev` on generated manifests to all of them served.

Goes out: time until every host gives its right answer, native compilations by the program's own metric,
memory by process. Called by the command line. Rule: a host counts as served when a request for it is
answered by the right backend; no status or metric is taken for it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from bench.guarding import require_free_port, require_own_port
from bench.installing import make_certificate
from bench.loading import LoadTool, Sweep, SweepResult, Target
from bench.manifests import (
    PLAIN_HOST_PATTERN,
    PROBE_PATH,
    TLS_HOST_PATTERN,
    plan_sites,
    write_manifests,
)
from bench.pinning import start_pinned, stopping
from bench.processes import ProcessMemory, tree_cpu_s, tree_memory
from bench.proxies import Tools
from bench.recording import write_json
from bench.running import LOG_TAIL_CHARS, StartError
from bench.scenes import LOOPBACK, Certificate

COMPILATIONS_METRIC = "zeroserve_native_compilations_total"
ENGINE_NAME = "zeroserve-engin"  # the kernel keeps 15 characters of a process's name
POLL_S = 0.05
METRICS_TIMEOUT_S = 10.0
BACKENDS = 2
# What issue and documentation promise on two cores.
START_S_MAX = 40.0
COMPILATIONS_MAX = 50
ENGINE_MIB_MAX = 64.0


@dataclass(frozen=True, slots=True)
class FillReport:
    """What the start took. `compilations`: None where the metric was not to be had."""

    ingresses: int
    objects: int
    seconds_to_all: float
    cpu_s: float
    hosts_right: int
    retries: int
    compilations: int | None
    memory: tuple[ProcessMemory, ...]

    def engine_mib(self) -> float | None:
        """PSS of engine and supervisor together; None when no process bears their name."""
        found = [process.pss_mib for process in self.memory if process.name == ENGINE_NAME]
        return sum(found) if found else None


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens, on the loopback address."""

    backends: tuple[int, ...]
    echo: int
    http: int
    https: int
    metrics: int


def choose_ports(first: int) -> Ports:
    """Ports from `first` on."""
    backends = tuple(range(first, first + BACKENDS))
    echo, http, https, metrics = range(first + BACKENDS, first + BACKENDS + 4)
    return Ports(backends, echo, http, https, metrics)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ingresses`."""
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds until it counts as failed")
    parser.add_argument("--json", type=Path)


def run(options: argparse.Namespace, tools: Tools, cache: Path, say: Callable[[str], None]) -> int:
    """Measure and print; 0 when every host was served and the promised bounds held."""
    ports = choose_ports(options.port)
    for port in dataclasses.astuple(ports)[1:] + ports.backends:
        require_free_port(port)
    directory = cache / "run" / "ingresses"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    certificate = make_certificate(cache / "certificate")
    sites = plan_sites(options.count)
    objects = write_manifests(directory / "manifests", sites, ports.backends, certificate)
    tls_hosts = sum(site.tls for site in sites)
    say(f"{options.count} Ingresses ({tls_hosts} with TLS), {objects} objects")
    # Both cores for the product here: this measures a start, not a rate.
    tool = LoadTool(tools.load, None)
    with stopping(tool.backend(ports.backends, ports.echo)):
        targets = make_targets(ports, certificate, tls_hosts, options.count - tls_hosts)
        start = Start(tools.zeroserve, directory, ports, targets, objects)
        report = measure_start(start, tool, options.timeout)
    print(render(report))
    write_json(options.json, report)
    return 0 if not list_breaches(report) else 1


def make_targets(ports: Ports, certificate: Certificate, tls_hosts: int, plain_hosts: int) -> list[Target]:
    """What must answer: the hosts with TLS on the HTTPS port, the others on the HTTP port."""
    paths = ((PROBE_PATH, 1),)
    tls = Target(ports.https, certificate.certificate, tls_hosts, paths, TLS_HOST_PATTERN)
    plain = Target(ports.http, None, plain_hosts, paths, PLAIN_HOST_PATTERN)
    return [target for target in (tls, plain) if target.hosts]


@dataclass(frozen=True, slots=True)
class Start:
    """One start to be measured: the command's parts and what must be answered afterwards."""

    zeroserve: Path
    directory: Path
    ports: Ports
    targets: Sequence[Target]
    objects: int

    def command(self) -> list[str]:
        """`zeroserve dev` on the manifests."""
        ports = self.ports
        command = [str(self.zeroserve), "dev", str(self.directory / "manifests"), "--bind", LOOPBACK]
        command += ["--http-port", str(ports.http), "--https-port", str(ports.https)]
        return [*command, "--metrics-port", str(ports.metrics)]


def measure_start(start: Start, tool: LoadTool, timeout_s: float) -> FillReport:
    """Start `zeroserve dev` and sweep until all is served; StartError when it ends or does not get there."""
    log = start.directory / "log"
    with log.open("wb") as output:
        began = time.monotonic()
        process = start_pinned(start.command(), None, directory=start.directory, stdout=output, stderr=output)
    with contextlib.ExitStack() as stack:
        stack.enter_context(stopping(process))
        sweeps = [stack.enter_context(tool.sweep(target, 0, timeout_s)) for target in start.targets]
        results = wait_for_sweeps(sweeps, process, log)
        seconds = time.monotonic() - began
        for target in start.targets:
            require_own_port(target.port, process.pid)
        return FillReport(
            ingresses=sum(result.hosts for result in results),
            objects=start.objects,
            seconds_to_all=seconds,
            cpu_s=tree_cpu_s(process.pid),
            hosts_right=sum(result.right for result in results),
            retries=sum(result.retries for result in results),
            compilations=read_compilations(start.ports.metrics),
            memory=tuple(tree_memory(process.pid)),
        )


def wait_for_sweeps(
    sweeps: Sequence[Sweep], process: subprocess.Popen[bytes], log: Path
) -> list[SweepResult]:
    """The results of all sweeps; StartError with the end of the log when the process ends first."""
    while not all(sweep.is_done() for sweep in sweeps):
        if process.poll() is not None:
            raise StartError(f"zeroserve dev ended: {log.read_text(errors='replace')[-LOG_TAIL_CHARS:]}")
        time.sleep(POLL_S)
    return [sweep.result() for sweep in sweeps]


def read_compilations(port: int) -> int | None:
    """The product's own count of native compilations; None when its metrics do not have it."""
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=METRICS_TIMEOUT_S) as answer:
            text = answer.read().decode()
    except (urllib.error.URLError, OSError):
        return None
    return parse_compilations(text)


def parse_compilations(text: str) -> int | None:
    """The sum over all samples of the compilations metric in Prometheus text; None when there is none."""
    samples = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == COMPILATIONS_METRIC
    ]
    return int(sum(samples)) if samples else None


def list_breaches(report: FillReport) -> list[str]:
    """What is not as promised for 10,000 Ingresses; empty when all is."""
    breaches = []
    if report.hosts_right < report.ingresses:
        breaches.append(f"{report.ingresses - report.hosts_right} hosts are not served")
    if report.seconds_to_all >= START_S_MAX:
        breaches.append(f"{report.seconds_to_all:.1f} s is not under {START_S_MAX:g} s")
    if report.compilations is None:
        breaches.append(f"the metric {COMPILATIONS_METRIC} is not to be had")
    elif report.compilations > COMPILATIONS_MAX:
        breaches.append(f"{report.compilations} native compilations are more than {COMPILATIONS_MAX}")
    engine = report.engine_mib()
    if engine is None:
        breaches.append("no engine process was found")
    elif engine >= ENGINE_MIB_MAX:
        breaches.append(f"the engine's {engine:.1f} MiB are not under {ENGINE_MIB_MAX:g} MiB")
    return breaches


def render(report: FillReport) -> str:
    """The report for people."""
    memory = sorted(report.memory, key=lambda process: -process.pss_mib)
    compilations = "unknown" if report.compilations is None else str(report.compilations)
    engine = report.engine_mib()
    lines = [
        f"Ingresses:           {report.ingresses} ({report.objects} objects)",
        f"start to all served: {report.seconds_to_all:.2f} s ({report.cpu_s:.2f} s of CPU)",
        f"hosts served:        {report.hosts_right} of {report.ingresses}",
        f"native compilations: {compilations}",
        f"engine memory:       {'unknown' if engine is None else f'{engine:.1f} MiB'} (PSS)",
        "memory by process:   " + ", ".join(f"{one.name} {one.pss_mib:.1f}" for one in memory),
    ]
    return "\n".join([*lines, *(f"NOT AS PROMISED: {breach}" for breach in list_breaches(report))])
