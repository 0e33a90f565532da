import pytest

from bench.backends import BackendRow, keeps_promise, parse_counters, render

METRICS = """\
# TYPE zeroserve_engine_requests_total counter
zeroserve_engine_requests_total{class="2xx"} 40.0
zeroserve_engine_requests_total{class="5xx"} 2.0
zeroserve_engine_cache_requests_total{result="hit"} 7.0
zeroserve_engine_system_calls_total 1e+01
"""


def rows(cpu_us, calls):
    """Three windows of each backend, one of them ten times as dear."""
    return [
        BackendRow("https", name, times * cpu, called, 0.0)
        for name, cpu, called in zip(("io_uring", "epoll"), cpu_us, calls, strict=True)
        for times in (1, 1, 10)
    ]


def test_counters_are_summed_over_their_labels():
    assert parse_counters(METRICS) == {"system_calls": 10.0, "requests": 42.0}


@pytest.mark.parametrize(
    ("cpu_us", "calls", "kept"),
    [
        ((10.0, 10.0), (0.5, 4.0), True),
        ((10.1, 10.0), (0.5, 4.0), False),
        ((10.0, 10.0), (0.6, 4.0), False),
    ],
)
def test_promise_is_about_medians_of_cpu_and_calls(cpu_us, calls, kept):
    assert keeps_promise(rows(cpu_us, calls), "https") is kept


def test_table_has_a_line_for_each_backend_of_a_workload():
    lines = render(rows((10.0, 12.0), (0.5, 4.0))).splitlines()
    assert lines[2:] == [
        "| https | io_uring | 10.0 (10.0..100.0) | 0.500 | 0.00 |",
        "| https | epoll | 12.0 (12.0..120.0) | 4.000 | 0.00 |",
    ]
