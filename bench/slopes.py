"""Straight lines through samples: how fast something grows, and how sure that is. Used by `soaking`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

HOUR_S = 3600.0
SURE_ERRORS = 3.0


@dataclass(frozen=True, slots=True)
class Slope:
    """Growth an hour by least squares, and its standard error."""

    per_hour: float
    error_per_hour: float

    def exceeds(self, bound_per_hour: float) -> bool:
        """True when the growth is above the bound for sure, not by noise."""
        return self.per_hour - SURE_ERRORS * self.error_per_hour > bound_per_hour


def fit_slope(points: Sequence[tuple[float, float]]) -> Slope | None:
    """The line through (seconds, value); None for fewer than three points or no time between them."""
    count = len(points)
    if count < 3:
        return None
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if spread == 0:
        return None
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    rest = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points)
    return Slope(slope * HOUR_S, math.sqrt(rest / (count - 2) / spread) * HOUR_S)
