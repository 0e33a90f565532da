"""CPU time and memory of process trees, from /proc. Used by the measurements; Linux only.

Rule: the CPU time of a tree is that of its living processes plus that of all children they have reaped, so
that a proxy cannot hide work in short-lived helpers. psutil is not used: it reads each `smaps` whole,
slowly.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
KIB_PER_MIB = 1024


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """The fields of `/proc/PID/stat` that we read; `cpu_ticks` includes reaped children."""

    pid: int
    name: str
    parent: int
    cpu_ticks: int


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """Proportional set size of one process: pages shared by n processes count 1/n."""

    pid: int
    name: str
    pss_mib: float


@dataclass(frozen=True, slots=True)
class CoreTimes:
    """Ticks a core was busy (all but idle and iowait), and in all."""

    busy_ticks: int
    total_ticks: int


def parse_stat(text: str) -> ProcessStat:
    """Parse one `/proc/PID/stat` line, proc_pid_stat(5). The name may hold spaces and parentheses."""
    opening, closing = text.index("("), text.rindex(")")
    fields = text[closing + 2 :].split()
    # Counted from field 3 (state): 4 ppid, 14 utime, 15 stime, 16 cutime, 17 cstime.
    ticks = sum(int(field) for field in fields[11:15])
    return ProcessStat(int(text[:opening]), text[opening + 1 : closing], int(fields[1]), ticks)


def parse_pss_mib(smaps_rollup: str) -> float:
    """The `Pss:` line of `/proc/PID/smaps_rollup`; 0 for a process that has no memory any more."""
    for line in smaps_rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / KIB_PER_MIB
    return 0.0


def parse_core_times(proc_stat: str) -> dict[int, CoreTimes]:
    """The `cpuN` lines of `/proc/stat` (proc_stat(5)): user nice system idle iowait irq softirq steal."""
    cores = {}
    for line in proc_stat.splitlines():
        label, _, rest = line.partition(" ")
        if label.startswith("cpu") and label[3:].isdigit():
            ticks = [int(field) for field in rest.split()[:8]]
            cores[int(label[3:])] = CoreTimes(sum(ticks) - ticks[3] - ticks[4], sum(ticks))
    return cores


def select_tree(root: int, stats: list[ProcessStat]) -> list[ProcessStat]:
    """The process `root` and all its living descendants, `root` first."""
    children: dict[int, list[ProcessStat]] = {}
    for stat in stats:
        children.setdefault(stat.parent, []).append(stat)
    tree = [stat for stat in stats if stat.pid == root]
    for member in tree:
        tree.extend(children.get(member.pid, ()))
    return tree


def read_tree(root: int) -> list[ProcessStat]:
    """The living tree under `root` now; empty when it has ended."""
    stats = []
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                stats.append(parse_stat((entry / "stat").read_text(errors="replace")))
            except (OSError, ValueError):
                continue  # ended meanwhile
    return select_tree(root, stats)


def tree_cpu_s(root: int) -> float:
    """CPU seconds (user and system) of the tree under `root`, reaped children included."""
    return sum(stat.cpu_ticks for stat in read_tree(root)) / TICKS_PER_S


def tree_memory(root: int) -> list[ProcessMemory]:
    """PSS of each process of the tree under `root`."""
    memory = []
    for stat in read_tree(root):
        try:
            rollup = (PROC / str(stat.pid) / "smaps_rollup").read_text()
        except OSError:
            continue  # ended meanwhile
        memory.append(ProcessMemory(stat.pid, stat.name, parse_pss_mib(rollup)))
    return memory


def read_core_times() -> dict[int, CoreTimes]:
    """Busy and total ticks of each core since boot."""
    return parse_core_times((PROC / "stat").read_text())
