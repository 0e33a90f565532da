"""A replica that was cut off serves nobody before it knows again what the cluster holds."""

import pytest
from zeroserve_operator.freshness import STALE_AFTER_S, Freshness


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def freshness(clock):
    return Freshness(clock)


def test_it_is_fresh_while_the_api_server_answers(clock, freshness):
    for _ in range(10):
        clock.now += STALE_AFTER_S
        assert freshness.is_fresh
        freshness.note_reached()


def test_silence_makes_it_stale(clock, freshness):
    clock.now += STALE_AFTER_S + 1
    assert not freshness.is_fresh


def test_an_answer_after_silence_is_not_enough_though_nobody_looked_meanwhile(clock, freshness):
    clock.now += STALE_AFTER_S + 1
    freshness.note_reached()
    assert not freshness.is_fresh


def test_a_comparison_that_finds_nothing_ends_it(clock, freshness):
    clock.now += STALE_AFTER_S + 1
    freshness.note_compared(missed=False)
    assert freshness.is_fresh


def test_what_was_missed_must_be_built_first(clock, freshness):
    clock.now += STALE_AFTER_S + 1
    freshness.note_compared(missed=True)
    assert not freshness.is_fresh
    freshness.note_built()
    assert freshness.is_fresh
