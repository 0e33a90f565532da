"""Renders the records of a comparison: markdown for people, JSON for programs. Pure; called by the command
line.

Every figure stands beside its ratio to the best peer (never to ourselves): above 1 is better than the best
peer.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.comparing import Failure, Measurement, Records
from bench.figures import Better, Spread, ratios_to_best, spread
from bench.guarding import FOREIGN_CORES_MAX
from bench.workloads import WORKLOADS, Workload, workload_named

UNKNOWN = "-"


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and with what it was measured."""

    processor: str
    kernel: str
    when: str
    command: str
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of the table: how to take it from a measurement, and which way it is good."""

    title: str
    better: Better
    take: Callable[[Measurement], float | None]


def _paced_us(name: str) -> Callable[[Measurement], float | None]:
    def take(measured: Measurement) -> float | None:
        if measured.paced is None:
            return None
        value = getattr(measured.paced.load, name)
        return None if value is None else float(value)

    return take


def total_pss_mib(measured: Measurement) -> float:
    """PSS of the whole process tree."""
    return sum(process.pss_mib for process in measured.memory)


COLUMNS = (
    Column("requests/s", Better.HIGHER, lambda measured: measured.full.requests_per_s),
    Column("CPU µs/request", Better.LOWER, lambda measured: measured.full.cpu_us_per_request),
    Column("p50 µs", Better.LOWER, _paced_us("p50_us")),
    Column("p99 µs", Better.LOWER, _paced_us("p99_us")),
    Column("PSS MiB", Better.LOWER, total_pss_mib),
)


def render_markdown(records: Records, machine: Machine, ours: str) -> str:
    """The whole report."""
    parts = ["# Proxies side by side", "", render_machine(machine)]
    measured = {record.workload for record in records.measurements}
    failed = {failure.workload for failure in records.failures}
    for workload in WORKLOADS:
        if workload.name in measured | failed:
            parts.append(render_workload(records, workload, ours))
    if {"hosts-1", "hosts-10000"} <= measured:
        parts.append(render_growth(records.measurements))
    return "\n".join(parts) + "\n"


def render_machine(machine: Machine) -> str:
    """What was measured where, with which command."""
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return (
        f"{machine.when}, {machine.processor}, Linux {machine.kernel}. {versions}.\n"
        f"Command: `{machine.command}`.\n"
        "Median of the rounds (least..greatest); x: times as good as the best peer.\n"
        "p50 and p99: open loop, one rate for all.\n"
        "CPU: user and system time of the proxy's whole process tree, reaped children included."
    )


def render_workload(records: Records, workload: Workload, ours: str) -> str:
    """The table of one workload and the memory by process under it."""
    by_proxy = group_by_proxy(records.measurements, workload.name)
    peers = [name for name in by_proxy if name != ours]
    heads = [f"{column.title} | x" for column in COLUMNS]
    lines = [f"\n## {workload.title}\n"]
    rates = {
        measured.paced_rate_per_s
        for measured in records.measurements
        if measured.workload == workload.name and measured.paced is not None
    }
    lines += [f"p50 and p99 at {rate:,.0f} requests/s.\n" for rate in sorted(rates)]
    lines.append("| proxy | " + " | ".join(heads) + " | start s | failed | others' cores |")
    lines.append("|---|" + "---:|" * (2 * len(COLUMNS) + 3))
    cells = {name: [name] for name in by_proxy}
    for column in COLUMNS:
        spreads = {name: _spread(column, rows) for name, rows in by_proxy.items()}
        medians = {name: found.median if found else None for name, found in spreads.items()}
        ratios = ratios_to_best(medians, peers, column.better)
        for name in by_proxy:
            cells[name] += [format_spread(spreads[name]), format_ratio(ratios[name])]
    for name, rows in by_proxy.items():
        foreign = most_foreign(rows)
        flag = " (!)" if foreign > FOREIGN_CORES_MAX else ""
        tail = [format_number(rows[0].start_s), str(count_failed(rows)), f"{foreign:.2f}{flag}"]
        lines.append("| " + " | ".join([*cells[name], *tail]) + " |")
    lines += [_failure_line(failure) for failure in records.failures if failure.workload == workload.name]
    lines += ["", "Memory by process, PSS MiB: " + "; ".join(map(describe_memory, by_proxy.values())) + "."]
    return "\n".join(lines)


def group_by_proxy(measurements: Sequence[Measurement], workload: str) -> dict[str, list[Measurement]]:
    """The measurements of one workload by proxy, in the order met."""
    grouped: dict[str, list[Measurement]] = {}
    for measured in measurements:
        if measured.workload == workload:
            grouped.setdefault(measured.proxy, []).append(measured)
    return grouped


def most_foreign(rows: Sequence[Measurement]) -> float:
    """Others' share of the two cores, in cores, in the worst window of the rounds: of either loop."""
    windows = [window for row in rows for window in (row.full, row.paced) if window is not None]
    return max(window.foreign for window in windows)


def count_failed(rows: Sequence[Measurement]) -> int:
    """Requests that failed in any window of the rounds."""
    windows = [window for row in rows for window in (row.full, row.paced) if window is not None]
    return sum(window.load.failed for window in windows)


def describe_memory(rows: Sequence[Measurement]) -> str:
    """The processes of a proxy in its last round, largest first."""
    processes = sorted(rows[-1].memory, key=lambda process: -process.pss_mib)
    return f"{rows[-1].proxy}: " + ", ".join(f"{one.name} {one.pss_mib:.1f}" for one in processes)


def render_growth(measurements: Sequence[Measurement]) -> str:
    """CPU per request at 10,000 hosts over that at one."""
    lines = ["\n## 10,000 hosts against 1\n", "| proxy | CPU µs at 1 | CPU µs at 10,000 | times as dear |"]
    lines.append("|---|---:|---:|---:|")
    cpu = next(column for column in COLUMNS if column.title.startswith("CPU"))
    one, many = (group_by_proxy(measurements, name) for name in ("hosts-1", "hosts-10000"))
    for name in one:
        low = _spread(cpu, one[name])
        high = _spread(cpu, many.get(name, ()))
        times = format_ratio(high.median / low.median) if low and high else UNKNOWN
        lines.append(f"| {name} | {format_spread(low)} | {format_spread(high)} | {times} |")
    return "\n".join(lines)


def render_json(records: Records, machine: Machine, ours: str) -> str:
    """The records with their medians and ratios, as JSON."""
    document = {
        "machine": dataclasses.asdict(machine),
        "measurements": [dataclasses.asdict(measured) for measured in records.measurements],
        "failures": [dataclasses.asdict(failure) for failure in records.failures],
        "summary": summarise(records, ours),
    }
    return json.dumps(document, indent=1) + "\n"


def summarise(records: Records, ours: str) -> dict[str, dict[str, dict[str, dict[str, float | None]]]]:
    """workload -> proxy -> column -> median and ratio to the best peer."""
    summary: dict[str, dict[str, dict[str, dict[str, float | None]]]] = {}
    for name in dict.fromkeys(measured.workload for measured in records.measurements):
        workload = workload_named(name)
        by_proxy = group_by_proxy(records.measurements, workload.name)
        peers = [proxy for proxy in by_proxy if proxy != ours]
        summary[name] = {proxy: {} for proxy in by_proxy}
        for column in COLUMNS:
            spreads = {proxy: _spread(column, rows) for proxy, rows in by_proxy.items()}
            medians = {proxy: found.median if found else None for proxy, found in spreads.items()}
            ratios = ratios_to_best(medians, peers, column.better)
            for proxy in by_proxy:
                figure = {"median": medians[proxy], "times_best_peer": ratios[proxy]}
                summary[name][proxy][column.title] = figure
    return summary


def format_number(value: float) -> str:
    """About three significant digits: 65,801; 186; 14.3; 0.87."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def format_ratio(ratio: float | None) -> str:
    """Two decimals, or a dash."""
    return UNKNOWN if ratio is None else f"{ratio:.2f}"


def format_spread(found: Spread | None) -> str:
    """The median, and the extremes where they differ."""
    if found is None:
        return UNKNOWN
    if found.low == found.high:
        return format_number(found.median)
    return f"{format_number(found.median)} ({format_number(found.low)}..{format_number(found.high)})"


def _spread(column: Column, rows: Sequence[Measurement]) -> Spread | None:
    return spread([value for row in rows if (value := column.take(row)) is not None])


def _failure_line(failure: Failure) -> str:
    error = " ".join(failure.error.split()).replace("|", "\\|")[:200]
    return f"| {failure.proxy} | {error} |" + " |" * (2 * len(COLUMNS) + 2)
