"""`bench calls` measures what serves: programs as large as they are, on paths that they decide about."""

import argparse

import pytest
from zeroserve_dataplane.jit.targets import find_host_target

from bench.calling import CADDY, INGRESS, measure, render

OPTIONS = argparse.Namespace(repeat=100, batches=2)


@pytest.mark.skipif(find_host_target() is None, reason="no native code for this machine")
def test_hosts_are_measured_on_each_path():
    reports = [
        *measure(INGRESS, 20, ["/app0/x", "/none"], OPTIONS),
        *measure(CADDY, 20, ["/app0/x"], OPTIONS),
    ]
    assert [(one.matcher, one.path) for one in reports] == [
        (INGRESS, "/app0/x"),
        (INGRESS, "/none"),
        (CADDY, "/app0/x"),
    ]
    assert all(one.call_ns >= one.call_least_ns > 0 for one in reports)
    assert all(one.run_ns >= one.run_least_ns > 0 for one in reports)
    assert all(one.slots < 5 * 20 for one in reports), "a hash finds the path to compare"
    assert "/none" in render(reports)
