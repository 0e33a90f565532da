"""What neighbours notice of hostile plugins: answers and latencies of a host while others call attackers.

In: rates. Out: the neighbour's latencies in windows without and with calls of plugins that loop without end,
touch what is not theirs and ask helpers for too much, all on one worker. Called by the command line. Rule:
an open loop, so that a request that waits is counted with its wait; a wrong answer is a failure.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zeroserve_cli.plugins.building import compile_c, find_compiler

from bench.figures import quantile
from bench.guarding import require_free_port
from bench.installing import cache_directory
from bench.nodes import running
from bench.recording import write_json
from bench.scenes import LOOPBACK

MICROSECONDS = 1e6
ANSWER = b"neighbour"
REQUEST_TIMEOUT_S = 10.0
HOSTILE = {
    "endless": "volatile u64 n = 0; for (;;) n++;",
    "outside": "return *(volatile u64 *)(0x7fff0000 + (u64)context->method);",
    "greedy": "static u8 room[4096]; for (;;) zs_digest(0, room, 4096, ZS_ROOM(room));",
    "deep": 'zs_parse_json(ZS("[[[[1]]]]")); for (;;) zs_write_json(1, ZS("/0/0/-"), ZS("[1,2,3]"));',
}


@dataclass(frozen=True, slots=True)
class NeighbourReport:
    """One window: latencies of the neighbour in microseconds, and what became of the attackers' requests."""

    window: str
    requests: int
    wrong: int
    p50_us: float
    p99_us: float
    most_us: float
    attacks: int
    attacks_ended_500: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `neighbours`."""
    parser.add_argument("--rate", type=float, default=200.0, help="the neighbour's requests a second")
    parser.add_argument("--attacks", type=float, default=20.0, help="calls of hostile plugins a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a window")
    parser.add_argument("--json", type=Path)


def run(options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Measure and print; 0 when every answer of the neighbour was right and every attack ended with 500."""
    require_free_port(options.port)
    reports = asyncio.run(measure(options, cache_directory() / "run" / "neighbours", say))
    print(render(reports))
    write_json(options.json, reports)
    held = all(one.wrong == 0 and one.attacks == one.attacks_ended_500 for one in reports)
    return 0 if held else 1


async def measure(
    options: argparse.Namespace, directory: Path, say: Callable[[str], None]
) -> list[NeighbourReport]:
    """Start a node with one worker and measure the windows: without, with, and without again."""
    directory.mkdir(parents=True, exist_ok=True)
    reports = []
    async with running(directory, _write(options.port, directory), options.port, 1):
        for window, attacks in (("alone", 0.0), ("beside attacks", options.attacks), ("alone again", 0.0)):
            say(window)
            neighbour = _ask(options.port, ["neighbour.test"], options.rate, options.seconds)
            attackers = _ask(options.port, [f"{name}.test" for name in HOSTILE], attacks, options.seconds)
            answers, ends = await asyncio.gather(neighbour, attackers)
            times_us = [took_s * MICROSECONDS for took_s, _, _ in answers]
            reports.append(
                NeighbourReport(
                    window=window,
                    requests=len(answers),
                    wrong=sum((status, body) != (200, ANSWER) for _, status, body in answers),
                    p50_us=quantile(times_us, 0.5),
                    p99_us=quantile(times_us, 0.99),
                    most_us=max(times_us),
                    attacks=len(ends),
                    attacks_ended_500=sum(status == 500 for _, status, _ in ends),
                )
            )
    return reports


def _write(port: int, directory: Path) -> str:
    """Compile the plugins; returns the Caddyfile."""
    plugins = hosts = ""
    for name, body in HOSTILE.items():
        source, built = directory / f"{name}.c", directory / f"{name}.o"
        source.write_text(
            "#include <zeroserve.h>\n"
            f"ZS_FUNCTION u64 f(struct zs_context *context) {{ (void)context; {body} return 0; }}\n"
        )
        built.write_bytes(compile_c([source], find_compiler()))
        plugins += f"\t\t{name} {built}\n"
        hosts += f"http://{name}.test:{port} {{\n\troute {{\n\t\tzeroserve_call {name} f\n\t}}\n}}\n"
    head = f"{{\n\tadmin off\n\tauto_https off\n\tplugins {{\n{plugins}\t}}\n}}\n"
    return f"{head}{hosts}http://neighbour.test:{port} {{\n\trespond {ANSWER.decode()}\n}}\n"


async def _ask(port: int, hosts: list[str], rate: float, seconds: float) -> list[tuple[float, int, bytes]]:
    """Send requests at their times, whatever becomes of those before; (seconds, status, body) of each."""
    if not rate:
        return []
    begun = time.monotonic()
    tasks = []
    for number in range(int(rate * seconds)):
        due = begun + number / rate
        await asyncio.sleep(max(due - time.monotonic(), 0))
        tasks.append(asyncio.create_task(_request(port, hosts[number % len(hosts)], due)))
    return await asyncio.gather(*tasks)


async def _request(port: int, host: str, due: float) -> tuple[float, int, bytes]:
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        try:
            writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
    return time.monotonic() - due, int(head.split(b" ", 2)[1]), body


def render(reports: list[NeighbourReport]) -> str:
    """The table for people."""
    lines = [
        "| window | requests | wrong | p50 us | p99 us | most us | attacks | ended with 500 |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one.window} | {one.requests} | {one.wrong} | {one.p50_us:.0f} | {one.p99_us:.0f} "
        f"| {one.most_us:.0f} | {one.attacks} | {one.attacks_ended_500} |"
        for one in reports
    ]
    return "\n".join(lines)
