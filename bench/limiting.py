"""How exact rate limits are that nodes share, and what they cost.

In: how many nodes, the rate, for how many windows. Out: a `LimitReport` for each number of nodes: what was
let through beside what was allowed, leases and what they took. Called by the command line. Rules: every node
is whole (engine, agent, leases of its own), all on this machine with one Redis; the load is uneven, most of
it on the first node and a trickle on the last; allowed is the burst and what the rate gives in the time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zeroserve_dataplane.agent.embedding import EmbeddedNode
from zeroserve_dataplane.settings import EmbeddedSettings
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.drafting_sites import draft_sites

from bench.guarding import require_free_port
from bench.installing import SetupError, cache_directory
from bench.processes import tree_cpu_s
from bench.recording import write_json
from bench.scenes import LOOPBACK

PATIENCE_S = 60.0
ERROR_MAX = 0.05
BUSY_CLIENTS = 8
QUIET_PAUSE_S = 0.1
PASSED, LIMITED = 200, 429


@dataclass(frozen=True, slots=True)
class LimitReport:
    """One number of nodes. Errors are parts of what was allowed; the worst is not the first, of the burst."""

    nodes: int
    requests: int
    allowed: float
    passed: int
    error: float
    worst_window_error: float
    leases: int
    lease_ms: float
    store_cpu_us: float
    """Of the store, for each lease."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `limits`."""
    parser.add_argument("--engines", default="2,5,10", help="numbers of nodes (default: %(default)s)")
    parser.add_argument("--events", type=int, default=200, help="events in a window (default: %(default)s)")
    parser.add_argument("--window-ms", type=int, default=1000, help="(default: %(default)s)")
    parser.add_argument("--windows", type=int, default=12, help="to measure (default: %(default)s)")
    parser.add_argument("--json", type=Path)


def run(options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Measure and print; 0 when every error is below 5 %."""
    directory = cache_directory() / "run" / "limits"
    directory.mkdir(parents=True, exist_ok=True)
    reports = []
    for count in [int(number) for number in options.engines.split(",")]:
        for port in range(options.port, options.port + count + 1):
            require_free_port(port)
        say(f"{count} nodes")
        reports.append(asyncio.run(measure(count, options, directory)))
    print(render(reports))
    write_json(options.json, reports)
    return 0 if all(report.error < ERROR_MAX for report in reports) else 1


async def measure(count: int, options: argparse.Namespace, directory: Path) -> LimitReport:
    """Run so many nodes and load them."""
    ports = range(options.port + 1, options.port + 1 + count)
    with store_running(directory, options.port) as store:
        async with nodes_running(options, ports, directory) as nodes:
            cpu_s, begun = tree_cpu_s(store.pid), time.monotonic()
            deadline = begun + options.windows * options.window_ms / 1000
            answers = await asyncio.gather(
                *(load(port, pause_s, deadline) for port, pause_s in spread(ports))
            )
            seconds = time.monotonic() - begun
            cpu_s = tree_cpu_s(store.pid) - cpu_s
            counts = [node.tokens.counts for node in nodes if node.tokens.counts is not None]
    leases = sum(one.leases for one in counts)
    passed = [at - begun for one in answers for at, status in one if status == PASSED]
    window_s = options.window_ms / 1000
    windows = [
        sum(index * window_s <= at < (index + 1) * window_s for at in passed)
        for index in range(1, options.windows)
    ]
    allowed = options.events * (1 + seconds / window_s)
    return LimitReport(
        nodes=count,
        requests=sum(map(len, answers)),
        allowed=allowed,
        passed=len(passed),
        error=abs(len(passed) - allowed) / allowed,
        worst_window_error=max(abs(one - options.events) for one in windows) / options.events,
        leases=leases,
        lease_ms=1000 * sum(one.seconds for one in counts) / max(1, sum(one.requests for one in counts)),
        store_cpu_us=1e6 * cpu_s / max(1, leases),
    )


def spread(ports: Sequence[int]) -> Iterator[tuple[int, float]]:
    """Yield a port and a pause between requests for each client."""
    for index, port in enumerate(ports):
        clients = BUSY_CLIENTS if index == 0 else 1
        last = index == len(ports) - 1
        yield from [(port, QUIET_PAUSE_S if last else 0.001 if index == 0 else 0.01)] * clients


async def load(port: int, pause_s: float, deadline: float) -> list[tuple[float, int]]:
    """Ask on one connection until the deadline; returns when each answer came, and its status."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    answers: list[tuple[float, int]] = []
    while time.monotonic() < deadline:
        writer.write(b"GET / HTTP/1.1\r\nHost: %s:%d\r\n\r\n" % (LOOPBACK.encode(), port))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = next(line for line in head.splitlines() if line.startswith(b"content-length"))
        await reader.readexactly(int(length.split(b":")[1]))
        answers.append((time.monotonic(), int(head[9:12])))
        await asyncio.sleep(pause_s)
    writer.close()
    return answers


@contextlib.asynccontextmanager
async def nodes_running(
    options: argparse.Namespace, ports: Sequence[int], directory: Path
) -> AsyncIterator[list[EmbeddedNode]]:
    """Yield nodes that serve and know of each other."""
    settings = EmbeddedSettings(
        workers=1,
        cache_directory=directory / "programs",
        limit_store=f"redis://{LOOPBACK}:{options.port}",
        metrics_port=0,
    )
    async with contextlib.AsyncExitStack() as stack:
        nodes = []
        for port in ports:
            node = await stack.enter_async_context(EmbeddedNode(settings))
            text = (
                f"http://{LOOPBACK}:{port} {{\nbind {LOOPBACK}\nrate_limit {{\nzone all {{\nkey all\n"
                f"events {options.events}\nwindow {options.window_ms}ms\nshared\n}}\n}}\nrespond ok\n}}\n"
            )
            configuration, _ = read_configuration(text, environment={})
            await node.apply(draft_sites(configuration).draft)
            nodes.append(node)
        async with asyncio.timeout(PATIENCE_S):
            for node in nodes:
                while not await asyncio.to_thread(has_store, node):
                    await asyncio.sleep(0.05)
        yield nodes


def has_store(node: EmbeddedNode) -> bool:
    """Whether the node's engine knows that its store is there."""
    assert node.metrics is not None
    with urllib.request.urlopen(
        f"http://{LOOPBACK}:{node.metrics.port}/metrics", timeout=PATIENCE_S
    ) as answer:
        return b"zeroserve_engine_shared_limit_store_up 1.0" in answer.read()


@contextlib.contextmanager
def store_running(directory: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a Redis that keeps nothing."""
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        raise SetupError("no redis-server: tools/install-debian-packages redis-server")
    command = [binary, "--port", str(port), "--bind", LOOPBACK, "--dir", str(directory), "--save", ""]
    with (directory / "redis.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def render(reports: Sequence[LimitReport]) -> str:
    """A Markdown table."""
    lines = [
        "| nodes | requests | allowed | let through | error | worst window | leases | ms | store CPU µs |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one.nodes} | {one.requests:,} | {one.allowed:,.0f} | {one.passed:,} | {one.error:.1%} "
        f"| {one.worst_window_error:.1%} | {one.leases:,} | {one.lease_ms:.2f} | {one.store_cpu_us:.0f} |"
        for one in reports
    ]
    return "\n".join(lines)
