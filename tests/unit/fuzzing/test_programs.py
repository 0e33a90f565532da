"""Ten thousand programs that nobody wrote mean the same on every execution.

Random ones and real ones with changed bytes, on the reference interpreter, the engine's interpreter and
native code of both tiers. `make fuzz` goes on for a million; ZEROSERVE_FUZZED_PROGRAMS is how many are tried
here.
"""

import multiprocessing
import os

import pytest
from fuzzing import differential
from fuzzing.__main__ import notices_wrong_translation
from zeroserve_dataplane.jit.targets import find_host_target

PROGRAMS = int(os.environ.get("ZEROSERVE_FUZZED_PROGRAMS", "10000"))
pytestmark = pytest.mark.skipif(find_host_target() is None, reason="no native code for this machine")


@pytest.fixture(scope="module")
def report():
    whole = differential.Report()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for batch in pool.imap_unordered(differential.run_batch, range(0, PROGRAMS, differential.BATCH)):
            whole.add(batch)
    return whole


@pytest.mark.timeout(900)
def test_executions_agree(report):
    assert not report.differences
    assert report.compared + report.refused >= PROGRAMS


def test_programs_end_in_every_way(report):
    assert set(report.endings) == {"END", "FUEL", "MEMORY", "HELPER"}
    assert all(count >= PROGRAMS // 200 for count in report.endings.values())


def test_changed_programs_are_run_and_refused(report):
    changed = PROGRAMS // differential.MUTATED_EVERY
    assert changed // 20 < report.refused < changed * 19 // 20


def test_canary_a_wrong_translation_is_noticed():
    assert notices_wrong_translation()
