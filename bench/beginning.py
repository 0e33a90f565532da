"""How long `zeroserve run` takes to its first answer, Caddyfile by Caddyfile.

In: Caddyfiles, or directories that are searched for them, each with a site of plain HTTP on 127.0.0.1, or a
corpus of Caddyfiles, whose sites are moved there. Out: for each, seconds from the start of the process to the
first byte of an answer, and the CPU seconds of its whole tree until then: cold, with an empty cache, and
warm, started again. Called by the command line. Rule: CPU time is the robust figure where others use the
machine; nothing is written but below a directory of ours.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.guarding import require_free_port
from bench.moving import MANIFEST, write_moved
from bench.pinning import start_pinned, stopping
from bench.processes import tree_cpu_s
from bench.recording import write_json
from bench.running import LOG_TAIL_CHARS, StartError
from bench.scenes import LOOPBACK

FIRST_ANSWER_S_MAX = 1.0
"""What documentation promises on a quiet machine."""
ANSWER_TIMEOUT_S = 120.0
POLL_S = 0.005
REQUEST = b"GET / HTTP/1.1\r\nHost: first.test\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """One start: seconds to the first answer, and CPU seconds of the tree until then."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class StartReport:
    """The starts of one Caddyfile."""

    caddyfile: str
    cold: FirstAnswer
    warm: FirstAnswer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `starts`."""
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="a Caddyfile, a directory, or a corpus"
    )
    parser.add_argument("--json", type=Path)


def run(options: argparse.Namespace, zeroserve: Path, say: Callable[[str], None]) -> int:
    """Measure and print; 1 when a first answer took longer than is promised."""
    reports = []
    with tempfile.TemporaryDirectory(prefix="zeroserve-bench-") as folder:
        for caddyfile in find_caddyfiles(options.paths, Path(folder), options.port):
            say(str(caddyfile))
            reports.append(measure(caddyfile, zeroserve))
    print(render(reports))
    write_json(options.json, reports)
    return 1 if any(report.cold.wall_s > FIRST_ANSWER_S_MAX for report in reports) else 0


def find_caddyfiles(paths: Sequence[Path], folder: Path, port: int) -> Iterator[Path]:
    """The files themselves, what is named Caddyfile below directories, and corpora, moved to `folder`."""
    for path in paths:
        if (path / MANIFEST).is_file():
            yield from write_moved(path, folder, port)
        else:
            yield from sorted(path.rglob("Caddyfile")) if path.is_dir() else (path,)


def plain_port(adapted: str) -> int | None:
    """The first port of loopback on which Caddy's JSON serves plain HTTP."""
    servers = json.loads(adapted).get("apps", {}).get("http", {}).get("servers", {})
    for server in servers.values():
        for address in server.get("listen", ()):
            host, _, port = address.rpartition(":")
            if host == LOOPBACK and port.isdecimal() and "tls_connection_policies" not in server:
                return int(port)
    return None


def measure(caddyfile: Path, zeroserve: Path) -> StartReport:
    """Start twice with one cache; StartError where it does not answer."""
    adapt = [str(zeroserve), "adapt", "--config", str(caddyfile)]
    adapted = subprocess.run(adapt, cwd=caddyfile.parent, capture_output=True, text=True, check=False)
    if adapted.returncode != 0:
        raise StartError(adapted.stderr[-LOG_TAIL_CHARS:])
    port = plain_port(adapted.stdout)
    if port is None:
        raise StartError(f"{caddyfile} serves no plain HTTP on {LOOPBACK}")
    require_free_port(port)
    with tempfile.TemporaryDirectory() as home:
        cold, warm = (_time_start(caddyfile, port, Path(home), zeroserve) for _ in range(2))
    return StartReport(str(caddyfile), cold, warm)


def _time_start(caddyfile: Path, port: int, home: Path, zeroserve: Path) -> FirstAnswer:
    command = [str(zeroserve), "run", "--config", str(caddyfile), "--admin", "off", "--workers", "1"]
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home), "XDG_DATA_HOME": str(home)}
    log = home / "log"
    with log.open("wb") as out:
        began = time.monotonic()
        process = start_pinned(
            command, None, environment=environment, directory=caddyfile.parent, stdout=out, stderr=out
        )
        with stopping(process):
            while not _answers(port):
                if process.poll() is not None or time.monotonic() - began > ANSWER_TIMEOUT_S:
                    raise StartError(log.read_text(errors="replace")[-LOG_TAIL_CHARS:])
                time.sleep(POLL_S)
            return FirstAnswer(time.monotonic() - began, tree_cpu_s(process.pid))


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=ANSWER_TIMEOUT_S) as connection:
            connection.sendall(REQUEST)
            return connection.recv(1) != b""
    except OSError:
        return False


def render(reports: Sequence[StartReport]) -> str:
    """A table: median and slowest, cold and warm, and which files were slowest."""
    lines = ["| | wall s, median | wall s, most | CPU s, median | CPU s, most |", "|---|---:|---:|---:|---:|"]
    for name, starts in (
        ("cold", [report.cold for report in reports]),
        ("warm", [report.warm for report in reports]),
    ):
        walls, cpus = [start.wall_s for start in starts], [start.cpu_s for start in starts]
        figures = (statistics.median(walls), max(walls), statistics.median(cpus), max(cpus))
        lines.append(f"| {name} | " + " | ".join(f"{figure:.2f}" for figure in figures) + " |")
    slowest = sorted(reports, key=lambda report: report.cold.cpu_s, reverse=True)[:3]
    lines += [f"\n{len(reports)} Caddyfiles. Most CPU, cold:"]
    lines += [f"- {report.caddyfile}: {report.cold.cpu_s:.2f} s" for report in slowest]
    return "\n".join(lines)
