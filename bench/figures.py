"""Statistics of the comparison: medians over rounds, ratios to the best peer, the common open-loop rate.

Pure: numbers in, numbers out. Called by `comparing` and `tables`.
"""

from __future__ import annotations

import enum
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# The open loop asks for this share of what the slowest contender can do at most.
OPEN_LOOP_SHARE = 0.6
# A proxy slower than this share of the fastest is no contender: it shall not set the rate for all.
CONTENDER_SHARE = 0.25
# A proxy is asked for an open loop only if its maximum exceeds the rate by this factor: else its queue grows.
HEADROOM = 1.1


class Better(enum.Enum):
    """Which way a figure is good."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and extremes over the rounds."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread | None:
    """Median, least and greatest; None without values (nothing was measured)."""
    if not values:
        return None
    return Spread(statistics.median(values), min(values), max(values))


def ratios_to_best(
    medians: Mapping[str, float | None], peers: Sequence[str], better: Better
) -> dict[str, float | None]:
    """Each proxy against the best of `peers`: 1 is as good, 2 twice as good, None where either is unknown."""
    known = [value for name in peers if (value := medians.get(name)) is not None and value > 0]
    if not known:
        return dict.fromkeys(medians)
    best = max(known) if better is Better.HIGHER else min(known)
    ratios: dict[str, float | None] = {}
    for name, value in medians.items():
        if value is None or value <= 0:
            ratios[name] = None
        else:
            ratios[name] = value / best if better is Better.HIGHER else best / value
    return ratios


def common_rate(maxima_per_s: Mapping[str, float]) -> float:
    """Requests/s for everyone's open loop, from each proxy's maximum; ValueError when nobody answered."""
    fastest = max(maxima_per_s.values(), default=0.0)
    if fastest <= 0:
        raise ValueError("no proxy answered: there is no rate to measure latencies at")
    contenders = [value for value in maxima_per_s.values() if value >= CONTENDER_SHARE * fastest]
    return OPEN_LOOP_SHARE * min(contenders)


def can_hold(maximum_per_s: float, rate_per_s: float) -> bool:
    """True when a proxy of that maximum can be measured at that rate without a queue that only grows."""
    return maximum_per_s >= HEADROOM * rate_per_s


def quantile(values: Sequence[float], share: float) -> float:
    """The nearest-rank quantile: the least value that `share` of all do not exceed. ValueError when empty."""
    if not values:
        raise ValueError("a quantile of nothing")
    ordered = sorted(values)
    return ordered[max(1, math.ceil(len(ordered) * share)) - 1]
