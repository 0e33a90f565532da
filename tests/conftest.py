"""Settings of all tests: property tests draw the same examples in every run (HYPOTHESIS=random: new ones).

No test skips: what cannot run is a failure, but for E2E=0, which leaves out what needs a cluster or its
tools. Tests marked `corpora` read collections that lie beside the repository; without those there are none.
"""

import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]
CORPORA = ROOT.parent / "shared" / "corpora"

# The package `bench` is no part of the distribution: it is imported from the repository's root.
sys.path.append(str(ROOT))

settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.register_profile(
    "random", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS", "repeatable"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of corpora that are not there."""
    if CORPORA.is_dir():
        return
    absent = [item for item in items if item.get_closest_marker("corpora")]
    config.hook.pytest_deselected(items=absent)
    items[:] = [item for item in items if item not in absent]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that skips."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a module that skips."""
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("E2E") != "0":
        report.outcome = "failed"
        report.longrepr = f"skipped, which only E2E=0 may do: {report.longrepr}"
