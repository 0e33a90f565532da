import dataclasses
import json

from bench.comparing import Failure, Measurement, Records, Window, describe
from bench.loading import LoadResult
from bench.processes import ProcessMemory
from bench.tables import Machine, format_number, render_json, render_markdown

MACHINE = Machine(
    "Some CPU, 2 cores", "6.1", "2026-01-02", "make bench", {"zeroserve": "0.1.0", "nginx": "1.22.1"}
)
LOAD = LoadResult(2.0, 100, 100, 0, {}, 0, 0, 50, 90, 99)


def measured(
    proxy, cpu_s, round_number=1, *, paced=True, failed=0, workload="https", foreign=0.0, paced_foreign=None
):
    full = Window(dataclasses.replace(LOAD, failed=failed), cpu_s, 0.1, foreign)
    pace = dataclasses.replace(full, foreign=foreign if paced_foreign is None else paced_foreign)
    memory = (ProcessMemory(1, f"{proxy}-a", 1.0), ProcessMemory(2, f"{proxy}-b", 3.0))
    return Measurement(workload, proxy, round_number, 0.25, full, pace if paced else None, 60.0, memory)


def rows_of(text):
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    return {(cells := [cell.strip() for cell in row.strip("|").split("|")])[0]: cells[1:] for row in rows}


def test_window_tells_cpu_per_request_and_rate():
    window = Window(LOAD, 0.001, 0.0, 0.0)
    assert (window.cpu_us_per_request, window.requests_per_s) == (10.0, 50.0)
    assert Window(dataclasses.replace(LOAD, answered=0), 1.0, 0.0, 0.0).cpu_us_per_request is None


def test_figures_stand_beside_their_ratio_to_the_best_peer():
    records = Records([measured("zeroserve", 0.001), measured("nginx", 0.002), measured("caddy", 0.004)], [])
    rows = rows_of(render_markdown(records, MACHINE, "zeroserve"))
    assert rows["zeroserve"][2:4] == ["10.0", "2.00"]
    assert rows["nginx"][2:4] == ["20.0", "1.00"]
    assert rows["caddy"][2:4] == ["40.0", "0.50"]


def test_rounds_become_median_and_extremes():
    records = Records(
        [measured("nginx", cpu_s, number) for number, cpu_s in enumerate((0.004, 0.001, 0.002))], []
    )
    assert rows_of(render_markdown(records, MACHINE, "zeroserve"))["nginx"][2] == "20.0 (10.0..40.0)"


def test_a_rate_that_was_not_held_has_no_latency():
    records = Records([measured("nginx", 0.001), measured("caddy", 0.1, paced=False)], [])
    assert rows_of(render_markdown(records, MACHINE, "zeroserve"))["caddy"][4:8] == ["-"] * 4


def test_failed_requests_of_all_windows_are_counted():
    records = Records([measured("nginx", 0.001, 1, failed=2), measured("nginx", 0.001, 2, failed=3)], [])
    assert rows_of(render_markdown(records, MACHINE, "zeroserve"))["nginx"][11] == "10"


def test_a_disturbed_window_is_marked():
    text = render_markdown(Records([measured("nginx", 0.001, foreign=0.4)], []), MACHINE, "zeroserve")
    assert rows_of(text)["nginx"][12] == "0.40 (!)"


def test_a_disturbed_paced_window_is_marked_too():
    text = render_markdown(Records([measured("nginx", 0.001, paced_foreign=0.3)], []), MACHINE, "zeroserve")
    assert rows_of(text)["nginx"][12] == "0.30 (!)"


def test_memory_is_shown_by_process_largest_first():
    text = render_markdown(Records([measured("nginx", 0.001)], []), MACHINE, "zeroserve")
    assert "nginx: nginx-b 3.0, nginx-a 1.0" in text


def test_a_proxy_that_failed_is_in_the_table_with_its_error():
    records = Records([measured("nginx", 0.001)], [Failure("https", "zeroserve", "ended\nat | once")])
    assert "| zeroserve | ended at \\| once |" in render_markdown(records, MACHINE, "zeroserve")


def test_a_workload_where_all_failed_has_a_table():
    text = render_markdown(Records([], [Failure("https", "nginx", "no")]), MACHINE, "zeroserve")
    assert "| nginx | no |" in text


def test_growth_compares_many_hosts_with_one():
    records = Records(
        [measured("nginx", 0.001, workload="hosts-1"), measured("nginx", 0.003, workload="hosts-10000")], []
    )
    assert "| nginx | 10.0 | 30.0 | 3.00 |" in render_markdown(records, MACHINE, "zeroserve")


def test_machine_versions_and_command_are_in_the_report():
    text = render_markdown(Records([], []), MACHINE, "zeroserve")
    for part in ("Some CPU, 2 cores", "nginx 1.22.1", "`make bench`", "2026-01-02"):
        assert part in text


def test_json_has_medians_ratios_and_every_record():
    records = Records(
        [measured("zeroserve", 0.001), measured("nginx", 0.002)], [Failure("http", "envoy", "no")]
    )
    document = json.loads(render_json(records, MACHINE, "zeroserve"))
    cpu = document["summary"]["https"]["zeroserve"]["CPU µs/request"]
    assert cpu == {"median": 10.0, "times_best_peer": 2.0}
    assert document["measurements"][1]["memory"][0]["pss_mib"] == 1.0
    assert document["failures"] == [{"workload": "http", "proxy": "envoy", "error": "no"}]


def test_numbers_have_about_three_digits():
    assert [format_number(value) for value in (65801.4, 186.2, 14.34, 0.874)] == [
        "65,801",
        "186",
        "14.3",
        "0.87",
    ]


def test_progress_line_names_failures_and_disturbance():
    line = describe(measured("nginx", 0.001, failed=1, foreign=0.5))
    assert "nginx: 50 requests/s, 10.0 us CPU" in line
    assert "2 FAILED" in line
    assert "disturbed (0.50 cores)" in line
