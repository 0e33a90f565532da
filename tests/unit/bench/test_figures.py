import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import Better, Spread, can_hold, common_rate, quantile, ratios_to_best, spread

FIGURES = {"ours": 10.0, "nginx": 20.0, "caddy": 40.0, "down": None}
PEERS = ["nginx", "caddy", "down"]


def test_lower_is_better_divides_the_best_peer_by_each():
    assert ratios_to_best(FIGURES, PEERS, Better.LOWER) == {
        "ours": 2.0,
        "nginx": 1.0,
        "caddy": 0.5,
        "down": None,
    }


def test_higher_is_better_divides_each_by_the_best_peer():
    assert ratios_to_best(FIGURES, PEERS, Better.HIGHER) == {
        "ours": 0.25,
        "nginx": 0.5,
        "caddy": 1.0,
        "down": None,
    }


def test_ours_is_never_the_best_peer():
    assert ratios_to_best({"ours": 100.0, "nginx": 50.0}, ["nginx"], Better.HIGHER)["nginx"] == 1.0


def test_without_a_measured_peer_there_is_no_ratio():
    assert ratios_to_best({"ours": 1.0, "nginx": None}, ["nginx"], Better.LOWER) == {
        "ours": None,
        "nginx": None,
    }
    assert ratios_to_best({"ours": 0.0, "nginx": 2.0}, ["nginx"], Better.LOWER)["ours"] is None


positive = st.floats(min_value=1e-3, max_value=1e9)


@given(st.dictionaries(st.sampled_from("abcdef"), positive, min_size=1), st.sampled_from(Better))
def test_the_best_peer_has_ratio_one_and_no_peer_more(medians, better):
    ratios = ratios_to_best(medians, list(medians), better)
    assert max(ratios.values()) == 1.0


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        ([3.0], Spread(3.0, 3.0, 3.0)),
        ([9.0, 1.0, 4.0], Spread(4.0, 1.0, 9.0)),
        ([1.0, 2.0], Spread(1.5, 1, 2)),
    ],
)
def test_spread_is_median_and_extremes(values, expected):
    assert spread(values) == expected


def test_common_rate_is_a_share_of_the_slowest_contender():
    assert common_rate({"nginx": 60_000, "envoy": 30_000}) == pytest.approx(18_000)


def test_a_proxy_far_behind_does_not_set_the_rate():
    assert common_rate({"nginx": 60_000, "caddy": 500}) == pytest.approx(36_000)
    assert not can_hold(500, 36_000)


def test_holding_a_rate_needs_headroom():
    assert can_hold(1_100, 1_000)
    assert not can_hold(1_099, 1_000)


def test_no_rate_without_an_answer():
    with pytest.raises(ValueError, match="no proxy answered"):
        common_rate({"nginx": 0.0})


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_quantile_is_nearest_rank(share, expected):
    assert quantile(list(range(100, 0, -1)), share) == expected


def test_quantile_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="nothing"):
        quantile([], 0.5)


@given(st.lists(positive, min_size=1), st.floats(min_value=0.01, max_value=1.0))
def test_quantile_is_a_value_that_enough_do_not_exceed(values, share):
    found = quantile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
