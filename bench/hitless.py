"""Upgrades and kills of the engine under load: nobody is refused, lost is what a killed process held.

Comes in: how many of each. Goes out: a `HitlessReport`. Called by the command line and by a feature test
with small numbers. Rule: a lost request is excused by a kill only when its connection was the killed
process's (the kernel lets go of a dead ring's sockets some milliseconds after the process is gone);
everything else counts.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.answering import answering, expect
from bench.clients import Asking, Http1, Http2, Loss, Place, Tally, echo_without_end
from bench.guarding import require_free_port
from bench.nodes import Node, running
from bench.recording import write_json
from bench.scenes import LOOPBACK, Certificate, host_names

PAUSE_S = 0.5
"""Between two changes: every client asks several times."""
SETTLE_S = 2.0
WORKERS = 2
UPLOAD_BYTES = 20_000
BACKENDS = 2


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one run."""

    plain: int
    tls: int
    backends: tuple[int, ...]
    echo: int


@dataclass(frozen=True, slots=True)
class HitlessReport:
    """What came of it. `unexcused`: lost requests on no killed process's connection."""

    upgrades: int
    kills: int
    seconds: float
    answered: dict[str, int]
    announced: dict[str, int]
    closed_idle: int
    not_taken: int
    refused: int
    lost_upgrading: int
    lost_in_kills: int
    unexcused: tuple[str, ...]
    most_lost_in_a_kill: int
    requests_at_a_time: int
    longest_s: float

    def is_clean(self) -> bool:
        """True when nobody was refused and nothing was lost but with a killed process."""
        asked = all(self.answered.get(kind, 0) for kind in KINDS)
        return asked and self.refused == 0 and self.lost_upgrading == 0 and not self.unexcused


KINDS = ("h1", "h1 upload", "h1 close", "h1 TLS", "h1 TLS close", "h2 TLS", "h2 clear", "websocket")


def render_site(ports: Ports, certificate: Certificate) -> str:
    """The Caddyfile: one site without TLS and one with it, in front of all backends and the echo."""
    upstreams = " ".join(f"{LOOPBACK}:{port}" for port in ports.backends)
    (host,) = host_names(1)
    routes = f"\treverse_proxy /ws {LOOPBACK}:{ports.echo}\n\treverse_proxy {upstreams}\n"
    options = "{\n\tadmin off\n\tauto_https off\n\tservers {\n\t\tprotocols h1 h2 h2c\n\t}\n}\n"
    tls = f"\ttls {certificate.certificate} {certificate.key}\n"
    plain = f"http://{host}:{ports.plain} {{\n\tbind {LOOPBACK}\n{routes}}}\n"
    return options + plain + f"https://{host}:{ports.tls} {{\n\tbind {LOOPBACK}\n{tls}{routes}}}\n"


def make_clients(ports: Ports, certificate: Certificate, tally: Tally, interval_s: float) -> list[Asking]:
    """One client of each kind."""
    (host,) = host_names(1)
    plain, tls = Place(ports.plain, host), Place(ports.tls, host, certificate.certificate)
    body = b"x" * UPLOAD_BYTES
    made = [
        Asking("h1", Http1.open, plain, expect, tally, interval_s),
        Asking("h1 upload", Http1.open, plain, expect, tally, interval_s, body=body),
        Asking("h1 close", Http1.open, plain, expect, tally, interval_s, keeps=False),
        Asking("h1 TLS", Http1.open, tls, expect, tally, interval_s),
        Asking("h1 TLS close", Http1.open, tls, expect, tally, interval_s, keeps=False),
        Asking("h2 TLS", Http2.open, tls, expect, tally, interval_s, parallel=4),
        Asking("h2 clear", Http2.open, plain, expect, tally, interval_s, parallel=4),
    ]
    assert {client.kind for client in made} == set(KINDS) - {"websocket"}
    return made


async def measure(
    directory: Path,
    ports: Ports,
    certificate: Certificate,
    upgrades: int,
    kills: int,
    *,
    clients: int = 3,
    interval_s: float = 0.02,
    say: Callable[[str], None] = lambda line: None,
) -> HitlessReport:
    """Serve, load, upgrade and kill; `clients` of each kind."""
    tally, stop = Tally(), asyncio.Event()
    begun_s = time.monotonic()
    site = render_site(ports, certificate)
    async with (
        answering(ports.backends, ports.echo),
        running(directory, site, ports.tls, WORKERS) as node,
    ):
        asking = [one for _ in range(clients) for one in make_clients(ports, certificate, tally, interval_s)]
        channel = Place(ports.plain, host_names(1)[0])
        tasks = [asyncio.create_task(one.run(stop)) for one in asking]
        tasks.append(asyncio.create_task(echo_without_end(channel, "/ws", tally, interval_s, stop)))
        await asyncio.sleep(SETTLE_S)
        await _upgrade(node, upgrades, say)
        await asyncio.sleep(SETTLE_S)
        lost_upgrading = list(tally.losses)
        deaths = await _kill(node, kills, say)
        await asyncio.sleep(SETTLE_S)
        stop.set()
        await asyncio.gather(*tasks)
    report = _report(tally, deaths, len(lost_upgrading))
    return dataclasses.replace(
        report,
        upgrades=upgrades,
        seconds=time.monotonic() - begun_s,
        requests_at_a_time=sum(one.parallel for one in asking),
    )


async def _upgrade(node: Node, upgrades: int, say: Callable[[str], None]) -> None:
    for number in range(1, upgrades + 1):
        await node.upgrade()
        await asyncio.sleep(PAUSE_S)
        if number % 10 == 0:
            say(f"{number} upgrades")


async def _kill(node: Node, kills: int, say: Callable[[str], None]) -> list[tuple[float, float]]:
    deaths = []
    for number in range(1, kills + 1):
        deaths.append(await node.kill())
        await asyncio.sleep(PAUSE_S)
        if number % 10 == 0:
            say(f"{number} kills")
    return deaths


def _report(tally: Tally, deaths: list[tuple[float, float]], lost_upgrading: int) -> HitlessReport:
    in_kills = [
        [loss for loss in tally.losses if loss.connected_s <= ended and loss.ended_s >= begun]
        for begun, ended in deaths
    ]
    excused = {id(loss) for losses in in_kills for loss in losses}
    others = [loss for loss in tally.losses if id(loss) not in excused]
    return HitlessReport(
        upgrades=0,
        kills=len(deaths),
        seconds=0.0,
        answered=dict(tally.answered),
        announced=dict(tally.announced),
        closed_idle=tally.closed_idle,
        not_taken=tally.not_taken,
        refused=tally.refused,
        lost_upgrading=lost_upgrading,
        lost_in_kills=len(excused),
        unexcused=tuple(_describe(loss) for loss in others),
        most_lost_in_a_kill=max(map(len, in_kills), default=0),
        requests_at_a_time=0,
        longest_s=tally.longest_s,
    )


def _describe(loss: Loss) -> str:
    return f"{loss.kind} after {loss.ended_s - loss.started_s:.3f} s: {loss.reason}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `hitless`."""
    parser.add_argument("--upgrades", type=int, default=100)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--clients", type=int, default=3, help="of each kind (default: %(default)s)")
    parser.add_argument("--json", type=Path)


def run(
    options: argparse.Namespace, cache: Path, certificate: Certificate, say: Callable[[str], None]
) -> int:
    """Measure and print; 0 when it was hitless."""
    first = options.port
    ports = Ports(first, first + 1, tuple(range(first + 2, first + 2 + BACKENDS)), first + 2 + BACKENDS)
    for port in (ports.plain, ports.tls, *ports.backends, ports.echo):
        require_free_port(port)
    directory = cache / "run" / "hitless"
    report = asyncio.run(
        measure(
            directory, ports, certificate, options.upgrades, options.kills, clients=options.clients, say=say
        )
    )
    print(render(report))
    write_json(options.json, report)
    return 0 if report.is_clean() else 1


def render(report: HitlessReport) -> str:
    """The report for people."""
    answered = ", ".join(f"{kind} {count}" for kind, count in sorted(report.answered.items()))
    announced = ", ".join(f"{what} {count}" for what, count in sorted(report.announced.items()))
    lines = [
        f"upgrades, kills:      {report.upgrades}, {report.kills} in {report.seconds:.0f} s",
        f"answered:             {sum(report.answered.values())} ({answered})",
        f"refused connections:  {report.refused}",
        f"lost in upgrades:     {report.lost_upgrading}",
        f"lost in kills:        {report.lost_in_kills}, at most {report.most_lost_in_a_kill} in one,"
        f" of {report.requests_at_a_time} at a time",
        f"lost otherwise:       {len(report.unexcused)}",
        f"ends announced:       {announced}",
        f"idle ends:            {report.closed_idle}",
        f"streams not taken:    {report.not_taken} (GOAWAY; sent again)",
        f"slowest answer:       {report.longest_s:.2f} s",
    ]
    return "\n".join([*lines, *(f"  {one}" for one in report.unexcused[:20])])
