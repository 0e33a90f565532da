import os
import subprocess
import sys

from bench.processes import (
    CoreTimes,
    ProcessStat,
    parse_core_times,
    parse_pss_mib,
    parse_stat,
    select_tree,
    tree_cpu_s,
    tree_memory,
)

STAT = "42 (a (b) c) S 7 1 1 0 -1 4194304 9 8 7 6 100 20 3 4 20 0 1 0 55 1 2"


def test_cpu_of_a_stat_line_is_user_system_and_reaped_children():
    assert parse_stat(STAT) == ProcessStat(pid=42, name="a (b) c", parent=7, cpu_ticks=127)


def test_tree_holds_descendants_of_any_depth_and_nobody_else():
    stats = [ProcessStat(pid, "x", parent, 0) for pid, parent in ((1, 0), (5, 4), (4, 3), (3, 1), (9, 1))]
    assert [stat.pid for stat in select_tree(3, stats)] == [3, 4, 5]


def test_tree_of_an_ended_process_is_empty():
    assert select_tree(8, [ProcessStat(1, "x", 0, 0)]) == []


def test_pss_is_read_in_mib():
    assert parse_pss_mib("Rss:   9999 kB\nPss:    1536 kB\nPss_Dirty: 7 kB\n") == 1.5
    assert parse_pss_mib("") == 0.0


def test_busy_core_time_leaves_out_idle_and_iowait():
    text = "cpu  1 1 1 1 1 1 1 1 0 0\ncpu0 10 1 5 100 50 2 3 4 0 0\ncpu1 1 0 0 9 0 0 0 0 0 0\nintr 5\n"
    assert parse_core_times(text) == {0: CoreTimes(25, 175), 1: CoreTimes(1, 10)}


def test_cpu_of_a_reaped_child_stays_in_its_parents_tree():
    before_s = tree_cpu_s(os.getpid())
    spin = "import time\nwhile time.process_time() < 0.2: pass"
    subprocess.run([sys.executable, "-c", spin], check=True)
    assert tree_cpu_s(os.getpid()) - before_s >= 0.15


def test_memory_lists_this_process():
    memory = {process.pid: process.pss_mib for process in tree_memory(os.getpid())}
    assert memory[os.getpid()] > 1
