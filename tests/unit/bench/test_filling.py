import dataclasses

import pytest

from bench.filling import ENGINE_NAME, FillReport, list_breaches, parse_compilations, render
from bench.processes import ProcessMemory

GOOD = FillReport(
    ingresses=10_000,
    objects=30_000,
    seconds_to_all=39.9,
    cpu_s=60.0,
    hosts_right=10_000,
    retries=5,
    compilations=50,
    memory=(ProcessMemory(1, "zeroserve", 300.0), ProcessMemory(2, ENGINE_NAME, 63.9)),
)


def test_the_promised_bounds_are_no_breach():
    assert list_breaches(GOOD) == []
    assert "NOT AS PROMISED" not in render(GOOD)


@pytest.mark.parametrize(
    ("change", "breach"),
    [
        ({"seconds_to_all": 40.0}, "40.0 s is not under 40 s"),
        ({"hosts_right": 9_999}, "1 hosts are not served"),
        ({"compilations": 51}, "51 native compilations are more than 50"),
        ({"compilations": None}, "is not to be had"),
        ({"memory": (ProcessMemory(2, ENGINE_NAME, 64.0),)}, "64.0 MiB are not under 64 MiB"),
        ({"memory": ()}, "no engine process"),
    ],
)
def test_each_bound_is_checked_and_what_is_unknown_is_no_success(change, breach):
    report = dataclasses.replace(GOOD, **change)
    (found,) = list_breaches(report)
    assert breach in found
    assert f"NOT AS PROMISED: {found}" in render(report)


def test_compilations_are_summed_over_labels():
    text = (
        "# TYPE zeroserve_native_compilations counter\n"
        'zeroserve_native_compilations_total{tier="fast"} 7.0\n'
        'zeroserve_native_compilations_total{tier="best"} 5.0\n'
    )
    assert parse_compilations(text) == 12
    assert parse_compilations("# TYPE other counter\nother_total 3.0\n") is None
