"""The adaptor for benchmark harnesses that start proxies as executables (`bench/zeroserve`).

Called with `start` (serve in the foreground until SIGTERM), `reload` (make the changed routes live) or
`version`, and the task in BENCH_* variables. Standard library only: it runs under whatever Python 3.11 the
harness finds. Rule: what runs is the shipped command on a stock Caddyfile; there is no access log, for no
site asks for one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.caddyfiles import render_caddyfile
from bench.scenes import Certificate, Route, Scene

ZEROSERVE = Path(__file__).resolve().parent.parent / ".venv/bin/zeroserve"
USAGE = "usage: zeroserve start|reload|version (with BENCH_* variables)"


class TaskError(Exception):
    """The harness's variables or its routes file are not as agreed; the message says which."""


@dataclass(frozen=True, slots=True)
class Task:
    """What the harness asks for: a scene, and the files that we keep for it."""

    scene: Scene
    caddyfile: Path
    admin_socket: Path


def read_task(variables: Mapping[str, str]) -> Task:
    """The task in BENCH_* variables and the file BENCH_ROUTES; TaskError names what is missing or wrong."""
    try:
        directory = Path(variables["BENCH_DIR"])
        # Plain HTTP is what the workload's name begins with; every other one is over TLS.
        tls = not variables["BENCH_WORK"].startswith("http-")
        port = int(variables["BENCH_TLS_PORT" if tls else "BENCH_HTTP_PORT"])
        admin_port = int(variables["BENCH_ADMIN_PORT"])
        certificate = Certificate(Path(variables["BENCH_CERT"]), Path(variables["BENCH_KEY"]))
        routes_text = Path(variables["BENCH_ROUTES"]).read_text()
    except KeyError as error:
        raise TaskError(f"the variable {error} is not set") from error
    except (ValueError, OSError) as error:
        raise TaskError(str(error)) from error
    hosts, routes, ports = parse_routes(routes_text)
    scene = Scene(directory, tls, port, admin_port, hosts, routes, ports, certificate)
    return Task(scene, directory / "Caddyfile", directory / "admin.sock")


def parse_routes(text: str) -> tuple[tuple[str, ...], tuple[Route, ...], tuple[int, ...]]:
    """Hosts, routes and backend ports of `{"hosts": [...], "routes": [{"prefix", "upstream"}]}`."""
    try:
        document = json.loads(text)
        hosts = tuple(str(host) for host in document["hosts"])
        upstreams = [(str(route["prefix"]), str(route["upstream"])) for route in document["routes"]]
        ports = tuple(dict.fromkeys(int(upstream.rpartition(":")[2]) for _, upstream in upstreams))
    except (ValueError, KeyError, TypeError) as error:
        raise TaskError(f"the routes file is not as agreed: {error!r}") from error
    routes = tuple(
        Route(prefix, ports.index(int(upstream.rpartition(":")[2]))) for prefix, upstream in upstreams
    )
    return hosts, routes, ports


def write_caddyfile(task: Task) -> None:
    """Put the Caddyfile in place whole: a server that watches it never sees half of it."""
    beside = task.caddyfile.with_suffix(".next")
    beside.write_text(render_caddyfile(task.scene))
    beside.rename(task.caddyfile)


def build_command(action: str, task: Task) -> list[str]:
    """The shipped command for `start` or `reload`."""
    subcommand = {"start": "run", "reload": "reload"}[action]
    config = ["--config", str(task.caddyfile), "--admin", str(task.admin_socket)]
    return [str(ZEROSERVE), subcommand, *config]


def main(arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    """Do what the harness asks; does not return when it becomes the shipped command."""
    if len(arguments) != 1 or arguments[0] not in ("start", "reload", "version"):
        print(USAGE, file=sys.stderr)
        return 2
    if not ZEROSERVE.exists():
        print(f"{ZEROSERVE} is not there: run `make setup` first", file=sys.stderr)
        return 1
    if arguments[0] == "version":
        shown = subprocess.run([str(ZEROSERVE), "version"], capture_output=True, text=True, check=False)
        print((shown.stdout or shown.stderr).partition("\n")[0])
        return shown.returncode
    try:
        task = read_task(variables)
        write_caddyfile(task)
    except (TaskError, OSError) as error:
        print(f"bench/zeroserve: {error}", file=sys.stderr)
        return 1
    command = build_command(arguments[0], task)
    return os.execv(command[0], command)
