"""Lines through samples: what grows for sure, and what only looks so."""

import pytest

from bench.slopes import HOUR_S, fit_slope


def test_a_straight_line_is_found_exactly():
    slope = fit_slope([(second, 5 + second * 2 / HOUR_S) for second in range(0, 7200, 60)])
    assert slope is not None
    assert slope.per_hour == pytest.approx(2)
    assert slope.error_per_hour == pytest.approx(0, abs=1e-9)
    assert slope.exceeds(1.9) and not slope.exceeds(2.1)


def test_noise_around_a_level_exceeds_nothing():
    slope = fit_slope([(second, 10 + (second % 3)) for second in range(100)])
    assert slope is not None
    assert slope.error_per_hour > 1
    assert not slope.exceeds(1)


@pytest.mark.parametrize("points", [[], [(0, 1)], [(0, 1), (1, 2)], [(1, 1), (1, 2), (1, 3)]])
def test_too_little_has_no_slope(points):
    assert fit_slope(points) is None
