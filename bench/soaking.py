"""A soak: mixed traffic for hours, with changes all the time, and what grows meanwhile.

Comes in: hours, and how often what changes. Goes out: a `SoakReport`, and every sample as a line of JSON.
Rules: nothing is killed, so no request may be lost; growth is judged within the life of one process and
after its first quarter, for caches to fill.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.answering import answering
from bench.clients import Place, Tally, echo_without_end
from bench.disturbing import BEHAVIOURS, disturb
from bench.guarding import require_free_port
from bench.hitless import BACKENDS, WORKERS, Ports, make_clients, render_site
from bench.nodes import Node, running
from bench.processes import read_tree
from bench.recording import write_json
from bench.scenes import LOOPBACK, Certificate, host_names
from bench.slopes import Slope, fit_slope

RSS_BOUND_MIB_PER_HOUR = 1.0
DESCRIPTORS_BOUND_PER_HOUR = 2.0
WARM_UP_SHARE = 0.25
INTERVAL_S = 0.05
MIB = 1 << 20
SPARE_BACKENDS = 2


@dataclass(frozen=True, slots=True)
class Pace:
    """How long, and seconds between two of each."""

    hours: float
    sample_s: float
    change_s: float
    upgrade_s: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one time."""

    at_s: float
    pid: int
    name: str
    rss_mib: float
    pss_mib: float
    descriptors: int
    threads: int


@dataclass(frozen=True, slots=True)
class Growth:
    """Growth of the longest-lived process of a name."""

    name: str
    samples: int
    rss_mib: float
    rss: Slope | None
    pss: Slope | None
    descriptors: Slope | None

    def is_clean(self) -> bool:
        """True unless something grows for sure."""
        memory = [slope for slope in (self.rss, self.pss) if slope is not None]
        grows = any(slope.exceeds(RSS_BOUND_MIB_PER_HOUR) for slope in memory)
        return not grows and not (self.descriptors and self.descriptors.exceeds(DESCRIPTORS_BOUND_PER_HOUR))


@dataclass(frozen=True, slots=True)
class SoakReport:
    """What came of it."""

    hours: float
    answered: dict[str, int]
    announced: dict[str, int]
    refused: int
    lost: tuple[str, ...]
    changes: int
    upgrades: int
    longest_s: float
    growth: tuple[Growth, ...]

    def is_clean(self) -> bool:
        """True when nothing was lost and nothing grew."""
        return not self.lost and not self.refused and all(one.is_clean() for one in self.growth)


def read_samples(root: int, at_s: float) -> list[Sample]:
    """The process tree now; compile workers come and go and are left out."""
    samples = []
    for member in read_tree(root):
        proc = Path(f"/proc/{member.pid}")
        with contextlib.suppress(OSError, ValueError, IndexError):
            command = (proc / "cmdline").read_bytes().split(b"\0")
            name = _name(command)
            status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
            rollup = (proc / "smaps_rollup").read_text()
            pss_kib = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
            samples.append(
                Sample(
                    at_s=at_s,
                    pid=member.pid,
                    name=name,
                    rss_mib=int(status["VmRSS"].split()[0]) / 1024,
                    pss_mib=pss_kib / 1024,
                    descriptors=len(os.listdir(proc / "fd")),
                    threads=int(status["Threads"]),
                )
            )
    return [sample for sample in samples if sample.name]


def _name(command: list[bytes]) -> str:
    if command[1] in {b"serve", b"supervise"}:
        return {b"serve": "engine", b"supervise": "supervisor"}[command[1]]
    return "agent" if b"run" in command and any(part.endswith(b"zeroserve") for part in command) else ""


def find_growth(samples: Iterable[Sample]) -> tuple[Growth, ...]:
    """Growth by name, of the process with most samples of that name, without its first quarter."""
    lives: dict[str, dict[int, list[Sample]]] = {}
    for sample in samples:
        lives.setdefault(sample.name, {}).setdefault(sample.pid, []).append(sample)
    growth = []
    for name, by_pid in sorted(lives.items()):
        life = max(by_pid.values(), key=len)
        warm = life[int(len(life) * WARM_UP_SHARE) :]
        growth.append(
            Growth(
                name=name,
                samples=len(warm),
                rss_mib=warm[-1].rss_mib,
                rss=fit_slope([(one.at_s, one.rss_mib) for one in warm]),
                pss=fit_slope([(one.at_s, one.pss_mib) for one in warm]),
                descriptors=fit_slope([(one.at_s, float(one.descriptors)) for one in warm]),
            )
        )
    return tuple(growth)


class Soak:
    """One run."""

    def __init__(self, ports: Ports, spare: tuple[int, ...], certificate: Certificate, pace: Pace) -> None:
        self.ports = ports
        self.spare = spare
        self.certificate = certificate
        self.pace = pace
        self.tally = Tally()
        self.stop = asyncio.Event()
        self.samples: list[Sample] = []
        self.changes = 0
        self.upgrades = 0

    async def run(self, directory: Path, output: Path, say: Callable[[str], None]) -> SoakReport:
        """Serve, load, change and sample for the whole time."""
        begun_s = time.monotonic()
        async with (
            answering((*self.ports.backends, *self.spare), self.ports.echo),
            running(directory, self.render(0), self.ports.tls, WORKERS) as node,
        ):
            tasks = self._start_traffic()
            works = [self._sample(node, output, say), self._change(node), self._upgrade(node)]
            tasks += [asyncio.create_task(work) for work in works]
            ending = asyncio.create_task(asyncio.sleep(self.pace.hours * 3600))
            await asyncio.wait([ending, *tasks], return_when=asyncio.FIRST_COMPLETED)
            self.stop.set()
            await asyncio.gather(*tasks)
        lost = [
            f"{one.kind} after {one.ended_s - one.started_s:.1f} s: {one.reason}" for one in self.tally.losses
        ]
        return SoakReport(
            hours=(time.monotonic() - begun_s) / 3600,
            answered=dict(self.tally.answered),
            announced=dict(self.tally.announced),
            refused=self.tally.refused,
            lost=tuple(lost),
            changes=self.changes,
            upgrades=self.upgrades,
            longest_s=self.tally.longest_s,
            growth=find_growth(self.samples),
        )

    def render(self, version: int) -> str:
        """A Caddyfile whose endpoints and whose program's shape differ from those of the one before."""
        backends = [*self.ports.backends, *self.spare]
        turned = backends[version % len(backends) :] + backends[: version % len(backends)]
        ports = dataclasses.replace(self.ports, backends=tuple(turned[: 1 + version % len(turned)]))
        text = render_site(ports, self.certificate)
        (host,) = host_names(1)
        extra = "".join(f'\theader /shape{number} X-Shape "{version}"\n' for number in range(version % 5))
        name = f"http://v{version % 10}.{host}:{self.ports.plain}"
        return f"{text}{name} {{\n\tbind {LOOPBACK}\n{extra}\trespond ok\n}}\n"

    def _start_traffic(self) -> list[asyncio.Task[None]]:
        clients = make_clients(self.ports, self.certificate, self.tally, INTERVAL_S)
        (host,) = host_names(1)
        plain, tls = Place(self.ports.plain, host), Place(self.ports.tls, host, self.certificate.certificate)
        works = [one.run(self.stop) for one in clients]
        for place in (plain, tls):
            works += [disturb(behave, place, self.stop) for behave in BEHAVIOURS]
            works.append(echo_without_end(place, "/ws", self.tally, INTERVAL_S, self.stop))
        return [asyncio.create_task(work) for work in works]

    async def _rest(self, seconds: float) -> bool:
        """Wait; False when all is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stop.wait()
        return not self.stop.is_set()

    async def _change(self, node: Node) -> None:
        while await self._rest(self.pace.change_s):
            self.changes += 1
            await node.reload(self.render(self.changes))

    async def _upgrade(self, node: Node) -> None:
        while await self._rest(self.pace.upgrade_s):
            self.upgrades += 1
            await node.upgrade()

    async def _sample(self, node: Node, output: Path, say: Callable[[str], None]) -> None:
        begun_s = time.monotonic()
        with output.open("w") as file:
            while await self._rest(self.pace.sample_s):
                at_s = time.monotonic() - begun_s
                taken = await asyncio.to_thread(read_samples, node.process.pid, at_s)
                self.samples += taken
                answered, lost = sum(self.tally.answered.values()), len(self.tally.losses)
                for sample in taken:
                    line = {**dataclasses.asdict(sample), "answered": answered, "lost": lost}
                    file.write(json.dumps(line) + "\n")
                file.flush()
                if len(self.samples) % 100 < len(taken):
                    memory = ", ".join(
                        f"{one.name} {one.rss_mib:.1f} MiB {one.descriptors} fds" for one in taken
                    )
                    say(f"{at_s:.0f} s: {answered} answered, {lost} lost; {memory}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `soak`."""
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--sample-s", type=float, default=10.0, help="seconds between samples")
    parser.add_argument(
        "--change-s", type=float, default=5.0, help="seconds between changes of the Caddyfile"
    )
    parser.add_argument("--upgrade-s", type=float, default=7200.0, help="seconds between engine upgrades")
    parser.add_argument("--samples", type=Path, help="file for the samples (default: in the cache)")
    parser.add_argument("--json", type=Path)


def run(
    options: argparse.Namespace, cache: Path, certificate: Certificate, say: Callable[[str], None]
) -> int:
    """Soak and print; 0 when nothing was lost and nothing grew."""
    numbers = list(range(options.port, options.port + 3 + BACKENDS + SPARE_BACKENDS))
    for port in numbers:
        require_free_port(port)
    backends = tuple(numbers[3 : 3 + BACKENDS])
    ports = Ports(plain=numbers[0], tls=numbers[1], backends=backends, echo=numbers[2])
    pace = Pace(options.hours, options.sample_s, options.change_s, options.upgrade_s)
    directory = cache / "run" / "soak"
    directory.mkdir(parents=True, exist_ok=True)
    soak = Soak(ports, tuple(numbers[3 + BACKENDS :]), certificate, pace)
    report = asyncio.run(soak.run(directory, options.samples or directory / "samples.jsonl", say))
    print(render(report))
    write_json(options.json, report)
    return 0 if report.is_clean() else 1


def render(report: SoakReport) -> str:
    """The report for people."""
    answered = ", ".join(f"{kind} {count}" for kind, count in sorted(report.answered.items()))
    lines = [
        f"time:          {report.hours:.2f} h, {report.changes} changes, {report.upgrades} upgrades",
        f"answered:      {sum(report.answered.values())} ({answered})",
        f"refused, lost: {report.refused}, {len(report.lost)}",
        f"slowest:       {report.longest_s:.2f} s",
    ]
    for one in report.growth:
        slopes = (
            f"RSS {_show(one.rss)} MiB/h, PSS {_show(one.pss)} MiB/h, descriptors {_show(one.descriptors)}/h"
        )
        lines.append(f"{one.name + ':':14} {one.rss_mib:.1f} MiB; {slopes} ({one.samples} samples)")
    return "\n".join([*lines, *(f"  {one}" for one in report.lost[:20])])


def _show(slope: Slope | None) -> str:
    return "-" if slope is None else f"{slope.per_hour:+.2f} ± {slope.error_per_hour:.2f}"
