"""What helpers charge, as the bench of prices sees it in the engine."""

import pytest
from zeroserve_dataplane.jit.targets import find_host_target

from bench.priced_cases import list_cases
from bench.pricing import Price, measure, render

CASES = {case.name: case for case in list_cases()}


@pytest.mark.parametrize(
    ("name", "fuel_min"),
    [("find_json_kind deep", 120 * 64), ("write_json_string deep", 32 * 64), ("format_time 2", 150)],
)
def test_work_that_arguments_only_describe_is_paid_for(name, fuel_min):
    target = find_host_target()
    if target is None:
        pytest.skip("no native code for this machine")
    assert measure(CASES[name], target, batches=1).call_fuel >= fuel_min


def test_fuel_that_buys_too_much_is_marked_and_comes_last():
    dear, cheap = Price("dear", 900.0, 10.0), Price("cheap", 10.0, 10.0)
    *_, first, last = render([dear, cheap]).splitlines()
    assert first.startswith("| cheap | 10 | 10 | 1.00 |")
    assert last == "| dear | 900 | 10 | 90.00 | above |"
