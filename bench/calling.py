"""What a call of a route program costs: nanoseconds within the engine's own code, nothing sent.

In: a number of routes. Out: for the first route, the last one and a path of no route, the time of a call
(enter the sandbox, decide, leave) and of a run (with the context written before, as each request has it),
and of a host without routes for comparison. Called by the command line. Rule: the same machine code and the
same functions as serve; the median of several batches, since a batch may be interrupted.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zeroserve_dataplane.jit.emitting import emit
from zeroserve_dataplane.jit.inspecting import execute
from zeroserve_dataplane.jit.targets import Tier, find_host_target
from zeroserve_dataplane.jit.translating import translate
from zeroserve_dataplane.verifier import Verified, verify
from zeroserve_engine import find_binary
from zeroserve_ir import tree
from zeroserve_ir._pb import execution_pb2, resources_pb2
from zeroserve_ir.program import abi
from zeroserve_ir.program.lowering import lower_site

from bench.recording import write_json

# What the issue promises for a host of 20 routes.
CALL_NS_MAX = 10.0
ROUTES_OF_PROMISE = 20
INGRESS, CADDY = "Ingress's prefix", "Caddy's path"
MATCHERS = (INGRESS, CADDY)
"""Both are compared in the program; Caddy's ignores case: a call begins with the folding of the path."""


@dataclass(frozen=True, slots=True)
class CallReport:
    """Nanoseconds: medians of batches, and of the batch that was disturbed least."""

    matcher: str
    routes: int
    path: str
    slots: int
    code_bytes: int
    call_ns: float
    call_least_ns: float
    run_ns: float
    run_least_ns: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `calls`."""
    parser.add_argument("--routes", type=int, default=ROUTES_OF_PROMISE)
    parser.add_argument("--repeat", type=int, default=1_000_000, help="calls in a batch")
    parser.add_argument("--batches", type=int, default=9)
    parser.add_argument("--json", type=Path)


def run(options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Measure and print; 0 when no call took longer than promised."""
    say(f"{options.batches} batches of {options.repeat:,} calls")
    reports = [
        *measure("none", 0, ["/"], options),
        *(
            report
            for matcher in MATCHERS
            for report in measure(
                matcher, options.routes, ["/app0/x", f"/app{options.routes - 1}/x", "/none"], options
            )
        ),
    ]
    print(render(reports))
    write_json(options.json, reports)
    return 0 if all(report.call_ns < CALL_NS_MAX for report in reports) else 1


def measure(matcher: str, routes: int, paths: Sequence[str], options: argparse.Namespace) -> list[CallReport]:
    """Measure a host of so many routes on each path."""
    site = tree.Site(
        (tree.SiteAddress(tree.Scheme.HTTP, "shop.test", 80),),
        tuple(
            tree.Route(
                (tree.ReverseProxy((tree.Upstream(f"127.0.0.1:{9000 + number}"),)),),
                ((_match(matcher, f"/app{number}"),),),
                group="routes",
            )
            for number in range(routes)
        ),
    )
    lowered = lower_site(site)
    verified = verify(lowered.code, len(lowered.constants))
    target = find_host_target()
    if not isinstance(verified, Verified) or target is None:
        raise ValueError("no native code for this machine")
    made = emit(translate(verified), target, Tier.OPTIMISED)
    image = resources_pb2.Image(
        abi=abi.ABI_VERSION,
        target=target.value,
        entry=made.entry,
        code_bytes=len(made.text),
        constants_bytes=len(lowered.constants),
        exposure=resources_pb2.Exposure.Value(verified.exposure.name),
        reads_folded_path=lowered.program.reads_folded_path,
    )
    reports = []
    for path in paths:
        request = execution_pb2.RequestHead(
            method="GET",
            target=path,
            scheme="http",
            http_minor=1,
            fields=[execution_pb2.Field(name="Host", value=b"shop.test")],
        )
        execution = execution_pb2.Execution(
            image=image,
            code=made.text,
            constants=lowered.constants,
            tables=lowered.tables,
            request=request,
            repeat=options.repeat,
        )
        outcomes = execute([str(find_binary())], [execution] * options.batches)
        calls, runs = ([getattr(one, name) for one in outcomes] for name in ("call_ns", "run_ns"))
        if not all((*calls, *runs)):
            raise ValueError(f"a call of {path} trapped")
        reports.append(
            CallReport(
                matcher=matcher,
                routes=routes,
                path=path,
                slots=len(lowered.code) // 8,
                code_bytes=len(made.text),
                call_ns=statistics.median(calls) / options.repeat,
                call_least_ns=min(calls) / options.repeat,
                run_ns=statistics.median(runs) / options.repeat,
                run_least_ns=min(runs) / options.repeat,
            )
        )
    return reports


def _match(matcher: str, path: str) -> tree.MatchPathPrefix | tree.MatchPath:
    return tree.MatchPathPrefix(path) if matcher == INGRESS else tree.MatchPath((f"{path}/*",))


def render(reports: Sequence[CallReport]) -> str:
    """The table for people."""
    lines = [
        "| routes | by | path | slots | bytes of machine code | a call, ns (least) | a run, ns (least) |",
        "|---:|---|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one.routes} | {one.matcher} | {one.path} | {one.slots} | {one.code_bytes} "
        f"| {one.call_ns:.1f} ({one.call_least_ns:.1f}) "
        f"| {one.run_ns:.1f} ({one.run_least_ns:.1f}) |"
        for one in reports
    ]
    return "\n".join(lines)
