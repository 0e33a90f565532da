"""The bench commands, `python -m bench`: compare, backends, changes, ingresses, hosts, calls, prices,
shapes, adding, neighbours, limits, cluster, hitless, soak, idle, starts, edits, setup.

Rule: exit code 0 when what was asked held, 1 when it did not or could not be measured, 2 for wrong use, 130
on Ctrl-C.
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import (
    adding,
    backends,
    beginning,
    calling,
    changing,
    clustering,
    editing,
    filling,
    hitless,
    hosting,
    idling,
    limiting,
    neighbours,
    pricing,
    shaping,
    soaking,
)
from bench.comparing import Comparison, Plan
from bench.guarding import GuardError, exclusive, require_free_port
from bench.installing import ZEROSERVE, SetupError, cache_directory, install, make_certificate
from bench.loading import LoadError, LoadTool
from bench.pinning import choose_cores, stopping
from bench.proxies import OURS, PROXIES, Proxy, Tools, proxy_named
from bench.running import Stage, StartError
from bench.tables import Machine, render_json, render_markdown
from bench.workloads import WORKLOADS, workload_named

BACKENDS = 4
# The proxies' ports follow the backends' and the echo port.
PROXY_PORT_OFFSET = 10

Say = Callable[[str], None]

EXAMPLE = """\
examples:
  make bench                                   the whole comparison (about 20 minutes)
  make bench BENCH="compare --workloads https --rounds 1 --seconds 2"
  make bench BENCH=changes                     hot change under load
  make bench BENCH=ingresses                   start with 10,000 Ingresses
  make bench BENCH=hosts                       100,000 virtual hosts, cold and from the last good snapshot
  make bench BENCH=calls                       nanoseconds of a call of a host of 20 routes
  make bench BENCH=prices                      nanoseconds that a helper's fuel buys
  make bench BENCH=shapes                      from the snapshot read to serving: known and new shapes
  make bench BENCH=adding                      one host more where 10,000 are served
  make bench BENCH=neighbours                  a host's latency while others call hostile plugins
  make bench BENCH="limits --engines 2,5,10"   what nodes that share a rate let through
  make bench BENCH="hitless --upgrades 100 --kills 100"
  make bench BENCH="soak --hours 24"           mixed traffic, changes and upgrades; what grows
  make bench BENCH=idle                        memory of 10,000 idle TLS connections of each protocol
  make bench BENCH=backends                    our io_uring beside our epoll: CPU and system calls
  make bench BENCH="edits CORPUS"              real Caddyfiles edited under load
  make bench BENCH=cluster                     changes among 1,000 Ingresses on a real cluster
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = build_parser().parse_args(given or ["compare"])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with exclusive(options.lock):
            code: int = options.run(options)
            return code
    except KeyboardInterrupt:
        say("interrupted")
        return 128 + signal.SIGINT
    except (SetupError, GuardError, LoadError, StartError, ValueError, OSError) as error:
        say(f"bench: {error}")
        return 1


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, epilog=EXAMPLE, formatter_class=formatter
    )
    common = argparse.ArgumentParser(add_help=False)
    lock = Path(os.environ.get("TMPDIR", "/tmp")) / "zeroserve-bench.lock"
    common.add_argument(
        "--lock", type=Path, default=lock, help="file locked while measuring (default: %(default)s)"
    )
    common.add_argument(
        "--port", type=int, default=18500, help="first of the ports used (default: %(default)s)"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    compare = commands.add_parser(
        "compare", parents=[common], help="zeroserve beside nginx, HAProxy, Caddy, Envoy"
    )
    names = ",".join(PROXIES)
    compare.add_argument("--proxies", default=names, help="comma-separated (default: %(default)s)")
    workloads = ",".join(workload.name for workload in WORKLOADS)
    compare.add_argument("--workloads", default=workloads, help="comma-separated (default: %(default)s)")
    compare.add_argument("--rounds", type=int, default=3)
    compare.add_argument("--seconds", type=float, default=4.0, help="length of a measured window")
    compare.add_argument("--tries", type=int, default=3, help="windows at most until one is undisturbed")
    compare.add_argument("--rate", type=float, help="requests/s for the latencies (default: found by trial)")
    compare.add_argument(
        "--access-log", action="store_true", help="ours writes one, as nodes of a cluster do"
    )
    compare.add_argument("--json", type=Path, help="write all records here")
    compare.add_argument("--markdown", type=Path, help="write the tables here too")
    compare.set_defaults(run=run_compare)

    changes = commands.add_parser("changes", parents=[common], help="hot changes under load")
    changing.add_arguments(changes)
    changes.set_defaults(run=run_changes)

    ingresses = commands.add_parser("ingresses", parents=[common], help="start with many Ingresses")
    filling.add_arguments(ingresses)
    ingresses.set_defaults(run=run_ingresses)

    hosts = commands.add_parser("hosts", parents=[common], help="start with many virtual hosts")
    hosting.add_arguments(hosts)
    hosts.set_defaults(run=run_hosts)

    for name, module, what in (
        ("calls", calling, "the cost of a call of a route program"),
        ("prices", pricing, "what the fuel of helpers buys"),
        ("shapes", shaping, "from a snapshot to serving, by shape"),
        ("adding", adding, "one host more among thousands"),
        ("neighbours", neighbours, "latency beside hostile plugins"),
        ("limits", limiting, "rate limits that nodes share: how exact"),
    ):
        command = commands.add_parser(name, parents=[common], help=what)
        module.add_arguments(command)
        command.set_defaults(run=functools.partial(_run_alone, module.run))

    cluster = commands.add_parser("cluster", parents=[common], help="changes on a real cluster (root)")
    clustering.add_arguments(cluster)
    cluster.set_defaults(run=run_cluster)

    handing = commands.add_parser("hitless", parents=[common], help="engine upgrades and kills under load")
    hitless.add_arguments(handing)
    handing.set_defaults(run=run_hitless)

    soak = commands.add_parser("soak", parents=[common], help="mixed traffic and changes for hours")
    soaking.add_arguments(soak)
    soak.set_defaults(run=run_soak)

    _add_last(commands, common)
    return parser


def _add_last(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    idle = commands.add_parser("idle", parents=[common], help="memory of idle TLS connections")
    idling.add_arguments(idle)
    idle.set_defaults(run=run_idle)

    both = commands.add_parser("backends", parents=[common], help="our io_uring beside our epoll")
    backends.add_arguments(both)
    both.set_defaults(run=run_backends)

    starts = commands.add_parser("starts", parents=[common], help="`zeroserve run` to its first answer")
    beginning.add_arguments(starts)
    starts.set_defaults(run=lambda options: beginning.run(options, ZEROSERVE, say))
    edits = commands.add_parser("edits", parents=[common], help="Caddyfiles edited under load")
    editing.add_arguments(edits)
    edits.set_defaults(run=lambda options: editing.run(options, ZEROSERVE, say))
    setup = commands.add_parser("setup", parents=[common], help="fetch and build what the others need")
    setup.set_defaults(run=run_setup)


def say(line: str) -> None:
    """Progress goes to stderr; stdout is the report's."""
    print(line, file=sys.stderr, flush=True)


def run_setup(options: argparse.Namespace) -> int:
    """`setup`: everything for every command."""
    tools = install(say, list(PROXIES))
    for proxy in (proxy_named(name, tools) for name in PROXIES if name != OURS):
        say(f"{proxy.name} {proxy.version()}")
    return 0


def _run_alone(run: Callable[[argparse.Namespace, Say], int], options: argparse.Namespace) -> int:
    return run(options, say)


def run_compare(options: argparse.Namespace) -> int:
    """`compare`: the tables on stdout."""
    names = options.proxies.split(",")
    for name in names:
        if name not in PROXIES:
            raise ValueError(f"no proxy `{name}`; there are {', '.join(PROXIES)}")
    workloads = tuple(workload_named(name) for name in options.workloads.split(","))
    tools = install(say, names)
    proxies = [proxy_named(name, tools) for name in names]
    machine = describe_machine(proxies)
    ports = tuple(range(options.port, options.port + BACKENDS))
    echo_port = options.port + BACKENDS
    grpc_ports = tuple(range(echo_port + 1, echo_port + 1 + BACKENDS))
    plan = Plan(
        workloads=workloads,
        rounds=options.rounds,
        seconds=options.seconds,
        tries=options.tries,
        rate_per_s=options.rate,
        first_port=options.port + PROXY_PORT_OFFSET,
        backend_ports=ports,
        grpc_ports=grpc_ports,
        access_log=options.access_log,
        directory=cache_directory() / "run",
    )
    cores = choose_cores()
    os.sched_setaffinity(0, {cores.load})
    stage = Stage(LoadTool(tools.load, cores.load), cores)
    certificate = make_certificate(cache_directory() / "certificate")
    for port in (*ports, echo_port, *grpc_ports):
        require_free_port(port)
    with stopping(stage.tool.backend(ports, echo_port, grpc_ports)) as backend:
        comparison = Comparison(plan, stage, backend, certificate, say)
        records = comparison.run(proxies)
    report = render_markdown(records, machine, OURS)
    print(report)
    if options.markdown:
        options.markdown.write_text(report)
    if options.json:
        options.json.write_text(render_json(records, machine, OURS))
    return 1 if records.failures else 0


def describe_machine(proxies: Sequence[Proxy]) -> Machine:
    """Processor, kernel, command and versions; a version that is not the pinned one is said to be so."""
    versions = {}
    for proxy in proxies:
        version = proxy.version()
        pinned = proxy.pinned is None or version == proxy.pinned
        versions[proxy.name] = version if pinned else f"{version} (pinned: {proxy.pinned})"
        say(f"{proxy.name} {versions[proxy.name]}")
    command = shlex.join(["python", "-m", "bench", *sys.argv[1:]])
    return Machine(read_processor(), platform.release(), time.strftime("%Y-%m-%d"), command, versions)


def read_processor() -> str:
    """The processor's name and the number of its cores that we may use."""
    cores = len(os.sched_getaffinity(0))
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        label, _, value = line.partition(":")
        if label.strip() == "model name":
            return f"{value.strip()}, {cores} cores"
    return f"{platform.machine()}, {cores} cores"


def run_changes(options: argparse.Namespace) -> int:
    """`changes`: the report on stdout; 1 unless nothing failed and every change was confirmed."""
    tools = _tools_for(options.proxy)
    return changing.run(options, tools, cache_directory(), say)


def run_ingresses(options: argparse.Namespace) -> int:
    """`ingresses`: the report on stdout."""
    tools = _tools_for(OURS)
    return filling.run(options, tools, cache_directory(), say)


def run_hosts(options: argparse.Namespace) -> int:
    """`hosts`: the report on stdout."""
    names = options.proxies.split(",")
    for name in names:
        if name not in PROXIES:
            raise ValueError(f"no proxy `{name}`; there are {', '.join(PROXIES)}")
    return hosting.run(options, install(say, names), cache_directory(), say)


def run_hitless(options: argparse.Namespace) -> int:
    """`hitless`: the report on stdout; 1 when anybody was refused, or lost what no killed process held."""
    cache = cache_directory()
    return hitless.run(options, cache, make_certificate(cache / "certificate"), say)


def run_soak(options: argparse.Namespace) -> int:
    """`soak`: the report on stdout; 1 when anything was lost, or grows."""
    cache = cache_directory()
    return soaking.run(options, cache, make_certificate(cache / "certificate"), say)


def run_idle(options: argparse.Namespace) -> int:
    """`idle`: the report on stdout; 1 when a connection takes more than is promised."""
    cache = cache_directory()
    return idling.run(options, cache, make_certificate(cache / "certificate"), say)


def run_backends(options: argparse.Namespace) -> int:
    """`backends`: the table on stdout; 1 when io_uring is dearer, or makes too many system calls."""
    cache = cache_directory()
    certificate = make_certificate(cache / "certificate")
    return backends.run(options, _tools_for(OURS), cache, certificate, say)


def run_cluster(options: argparse.Namespace) -> int:
    """`cluster`: the report on stdout; 1 unless each change was served."""
    return clustering.run(options)


def _tools_for(proxy: str) -> Tools:
    return install(say, [proxy])
