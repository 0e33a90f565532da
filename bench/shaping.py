"""From the snapshot that the agent has read to serving: shapes of routes that the node knows, and new ones.

In: a number of changes. Out: the time of each `apply`: verify, compile in a warm worker, hand over, commit,
until every worker of the engine serves it; and, as many times, what the machine takes to wake three idle
processes in turn, as a change wakes supervisor, engine and supervisor. Called by the command line. Rule: the
agent's own code and a real engine; reading and lowering the Caddyfile are the operator's part and lie before.
A new shape is one that made the compile worker compile; a known one made it compile nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zeroserve_cli.serving_caddyfiles import load
from zeroserve_dataplane.agent.embedding import EmbeddedNode
from zeroserve_dataplane.settings import EmbeddedSettings
from zeroserve_ir.drafting import SnapshotDraft

from bench.figures import quantile
from bench.guarding import require_free_port
from bench.recording import write_json

# What the issue promises, warm workers, p99.
NEW_MS_MAX = 50.0
KNOWN_MS_MAX = 5.0
MILLISECONDS = 1000.0
_MATCHERS = (
    "path /a{n}/* /b{n}",
    "method GET POST",
    "header X-Kind kind{n}",
    "query mode=m{n}",
    "not path /public{n}/*",
    "path_regexp word{n} ^/w{n}/(.*)$",
    "remote_ip 10.{n}.0.0/16",
    "host shop.test",
)
_HANDLERS = (
    "reverse_proxy 127.0.0.1:{p}",
    'respond "answer {n}" 200',
    "redir /to{n} 308",
    "header X-Seen s{n}\n\t\trespond {n}",
    "rewrite * /index{n}.html\n\t\treverse_proxy 127.0.0.1:{p}",
    "uri strip_prefix /a{n}\n\t\treverse_proxy 127.0.0.1:{p}",
    "request_header X-From f{n}\n\t\treverse_proxy 127.0.0.1:{p}",
    "error 404",
)


class ShapesError(ValueError):
    """The node refused what the bench made."""


@dataclass(frozen=True, slots=True)
class ShapesReport:
    """Milliseconds of the changes of one kind."""

    kind: str
    changes: int
    hosts: int
    p50_ms: float
    p99_ms: float
    most_ms: float
    bound_ms: float | None
    """What p99 is promised to stay within; None: nothing is."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `shapes`."""
    parser.add_argument("--changes", type=int, default=200, help="of each kind")
    parser.add_argument("--hosts", type=int, default=100, help="served all the while")
    parser.add_argument("--routes", type=int, default=20, help="routes of a host that is added")
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between two changes")
    parser.add_argument("--json", type=Path)


def run(options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Measure and print; 0 when both kinds kept what is promised."""
    require_free_port(options.port)
    reports = asyncio.run(_Bench(options, say).measure())
    print(render(reports))
    write_json(options.json, reports)
    return 0 if all(one.bound_ms is None or one.p99_ms <= one.bound_ms for one in reports) else 1


class _Bench:
    def __init__(self, options: argparse.Namespace, say: Callable[[str], None]) -> None:
        self.options = options
        self.say = say

    async def measure(self) -> list[ShapesReport]:
        with tempfile.TemporaryDirectory(prefix="zeroserve-bench-") as directory:
            place = Path(directory)
            settings = EmbeddedSettings(workers=1, admin_socket=None, cache_directory=place / "cache")
            async with EmbeddedNode(settings) as node:
                await node.apply(self._draft(place, []))
                known = await self._change(node, place, "known")
                new = await self._change(node, place, "new")
        return [known, new, await asyncio.to_thread(self._wake)]

    def _wake(self) -> ShapesReport:
        """Ask a process that asks another, and that a third: the least that a change takes."""
        with subprocess.Popen(
            "cat | cat | cat", shell=True, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as chain:
            assert chain.stdin is not None and chain.stdout is not None
            times_ms = []
            for _ in range(self.options.changes):
                time.sleep(self.options.pause)
                begun = time.monotonic()
                chain.stdin.write(b"\n")
                chain.stdout.read(1)
                times_ms.append((time.monotonic() - begun) * MILLISECONDS)
            chain.stdin.close()
        return self._report("waking three processes", times_ms, None)

    async def _change(self, node: EmbeddedNode, place: Path, kind: str) -> ShapesReport:
        times_ms: list[float] = []
        number = 0
        while len(times_ms) < self.options.changes:
            number += 1
            shape = 0 if kind == "known" else number
            draft = self._draft(place, [self._write_host(kind, number, shape)])
            await asyncio.sleep(self.options.pause)
            before = node.node.images.native_compilations
            begun = time.monotonic()
            outcome = await node.apply(draft)
            took_ms = (time.monotonic() - begun) * MILLISECONDS
            if outcome.refusals:
                raise ShapesError(outcome.refusals[0].diagnostic.render_short())
            compiled = node.node.images.native_compilations - before
            # The first host of the known shape makes it known.
            if (compiled > 0) == (kind == "new"):
                times_ms.append(took_ms)
        self.say(f"{kind}: {len(times_ms)} of {number} changes count")
        return self._report(kind, times_ms, NEW_MS_MAX if kind == "new" else KNOWN_MS_MAX)

    def _report(self, kind: str, times_ms: list[float], bound_ms: float | None) -> ShapesReport:
        return ShapesReport(
            kind=kind,
            changes=len(times_ms),
            hosts=self.options.hosts,
            p50_ms=quantile(times_ms, 0.5),
            p99_ms=quantile(times_ms, 0.99),
            most_ms=max(times_ms),
            bound_ms=bound_ms,
        )

    def _draft(self, place: Path, more: list[str]) -> SnapshotDraft:
        hosts = (
            f"http://host{number}.test:{self.options.port} {{\n\treverse_proxy /a/* 127.0.0.1:9\n}}\n"
            for number in range(self.options.hosts)
        )
        path = place / "Caddyfile"
        path.write_text("".join(("{\n\tadmin off\n\tauto_https off\n}\n", *hosts, *more)))
        loaded = load(path)
        if loaded.draft is None:
            raise ShapesError(loaded.diagnostics[0].render_short())
        return loaded.draft

    def _write_host(self, kind: str, number: int, shape: int) -> str:
        """A host whose order of matchers and handlers is the shape's, and whose words are the number's."""
        choose = random.Random(shape)
        routes = []
        for route in range(self.options.routes):
            words = {"n": number % 200 + route, "p": 9000 + number % 1000}
            matcher, handler = (
                choose.choice(_MATCHERS).format(**words),
                choose.choice(_HANDLERS).format(**words),
            )
            routes.append(f"\t@m{route} {matcher}\n\thandle @m{route} {{\n\t\t{handler}\n\t}}\n")
        return f"http://{kind}{number}.test:{self.options.port} {{\n{''.join(routes)}}}\n"


def render(reports: list[ShapesReport]) -> str:
    """The table for people."""
    lines = [
        "| shape | changes | hosts beside | p50 ms | p99 ms | most ms | promised p99 ms |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one.kind} | {one.changes} | {one.hosts} | {one.p50_ms:.1f} | {one.p99_ms:.1f} "
        f"| {one.most_ms:.1f} | {'' if one.bound_ms is None else f'{one.bound_ms:g}'} |"
        for one in reports
    ]
    return "\n".join(lines)
