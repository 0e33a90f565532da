"""Coalescing: the first change at once, a burst together."""

from zeroserve_operator.coalescing import Coalescer
from zeroserve_operator.store import Effect


def test_nothing_waits_for_nothing():
    coalescer = Coalescer(0.1, 1.0)
    coalescer.notice(Effect.NOTHING, 5.0)
    assert coalescer.due() is None


def test_the_first_change_of_a_quiet_period_goes_out_at_once():
    coalescer = Coalescer(0.1, 1.0)
    coalescer.notice(Effect.ENDPOINTS, 5.0)
    assert coalescer.due() == 5.0
    assert coalescer.take(5.0) is Effect.ENDPOINTS and coalescer.due() is None


def test_after_a_build_changes_wait_until_it_is_quiet():
    coalescer = Coalescer(0.1, 1.0)
    coalescer.take(5.0)
    coalescer.notice(Effect.ENDPOINTS, 5.05)
    coalescer.notice(Effect.REBUILD, 5.10)
    assert coalescer.due() == 5.10 + 0.1
    assert coalescer.take(5.2) is Effect.REBUILD


def test_an_endless_burst_waits_no_longer_than_the_maximum():
    coalescer = Coalescer(0.1, 1.0)
    coalescer.take(5.0)
    for step in range(100):
        coalescer.notice(Effect.ENDPOINTS, 5.05 + step * 0.05)
    assert coalescer.due() == 5.05 + 1.0


def test_a_rebuild_is_not_forgotten_for_endpoints():
    coalescer = Coalescer(0.1, 1.0)
    coalescer.notice(Effect.REBUILD, 1.0)
    coalescer.notice(Effect.ENDPOINTS, 1.0)
    assert coalescer.take(1.0) is Effect.REBUILD
