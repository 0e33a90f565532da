"""What the report of many hosts says, and what counts as not as promised."""

import dataclasses
import os

import pytest

from bench.hosting import HostsReport, PeakMemory, list_breaches, render
from bench.processes import ProcessMemory

MEMORY = (
    ProcessMemory(1, "zeroserve", 900.0),
    ProcessMemory(2, "zeroserve-engin", 20.0),
    ProcessMemory(3, "zeroserve-engin", 140.0),
)
COLD = HostsReport("zeroserve", "cold", 100_000, 70.0, 75.0, 2100.0, MEMORY, 10.5, 10.0)


def test_a_start_within_its_bounds_is_as_promised():
    assert list_breaches(COLD) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seconds_to_all": 120.0}, "120.0 s are not under 120 s"),
        ({"start": "last good", "seconds_to_all": 10.0}, "10.0 s are not under 10 s"),
        ({"peak_mib": 4097.0}, "4097 MiB at the peak are more than 4096 MiB"),
        (
            {"memory": (ProcessMemory(1, "zeroserve-engin", 300.0),)},
            "the engine's 300 MiB are not under 300 MiB",
        ),
        ({"cpu_us": 11.0}, "a request is 10 % dearer than with one host"),
        ({"fault": "zeroserve ended: no port"}, "zeroserve ended: no port"),
    ],
)
def test_each_bound_that_does_not_hold_is_named(change, said):
    assert list_breaches(dataclasses.replace(COLD, **change)) == [said]


def test_nothing_is_promised_of_others():
    assert list_breaches(dataclasses.replace(COLD, proxy="nginx", seconds_to_all=1000.0)) == []


def test_engine_is_the_larger_of_the_processes_of_that_name():
    assert COLD.engine_mib() == 140.0


def test_report_has_a_row_for_each_start_and_one_that_failed():
    text = render([COLD, dataclasses.replace(COLD, proxy="caddy", fault="caddy: not served\nmore")])
    assert "| zeroserve | cold | 100,000 | 70.0 | 75.0 | 2100 | 140.0 | 10.5 | 10.0 | +5 % |" in text
    assert "| caddy | cold | not served: caddy: not served |" in text


def test_peak_is_at_least_what_is_used_now():
    with PeakMemory([os.getpid()]) as peak:
        pass
    assert peak.mib > 1
