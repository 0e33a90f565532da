"""Coalescing: when to build.

In: the effects of changes and the time. Out: the time at which to build what has come together. Rule: the
first change of a quiet period goes out at once; in a burst a build waits until no change came for the
hold-off, but no longer than the maximum since the first one that waits.
"""

from __future__ import annotations

from zeroserve_operator.store import Effect


class Coalescer:
    """Decides; keeps no clock: times are seconds of any steady clock."""

    def __init__(self, holdoff_s: float, holdoff_max_s: float) -> None:
        self.holdoff_s = holdoff_s
        self.holdoff_max_s = max(holdoff_max_s, holdoff_s)
        self.pending = Effect.NOTHING
        self._first = 0.0
        self._last = 0.0
        self._taken = float("-inf")

    def notice(self, effect: Effect, now: float) -> None:
        """Note a change."""
        if effect is Effect.NOTHING:
            return
        if self.pending is Effect.NOTHING:
            self._first = now
        self.pending = max(self.pending, effect)
        self._last = now

    def due(self) -> float | None:
        """Return the time to build at, or None while nothing waits."""
        if self.pending is Effect.NOTHING:
            return None
        if self._first - self._taken >= self.holdoff_s:
            return self._first
        return min(self._last + self.holdoff_s, self._first + self.holdoff_max_s)

    def take(self, now: float) -> Effect:
        """Return what waits and begin anew."""
        effect, self.pending = self.pending, Effect.NOTHING
        self._taken = now
        return effect
