"""Freshness: whether what this replica knows is what the cluster holds.

In: when the API server answered, what comparisons with listings found, that what they found is built. Out:
whether new versions may be served. Called by `running`. Rule: a replica that was cut off knows an older
cluster than its siblings; it serves nobody until it has compared all objects again and built what it missed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

STALE_AFTER_S = 30.0
"""Without an answer of the API server for so long, watches count as deaf: some ten lost Lease renewals."""


class Freshness:
    """Keeps the marks."""

    def __init__(self, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        self._reached_s = steady()
        self._was_cut_off = False
        self._has_missed = False

    @property
    def is_fresh(self) -> bool:
        """Whether new versions may be served."""
        if self._steady() - self._reached_s > STALE_AFTER_S:
            self._was_cut_off = True
        return not self._was_cut_off and not self._has_missed

    def note_reached(self) -> None:
        """Note that the API server answered now."""
        _ = self.is_fresh
        self._reached_s = self._steady()

    def note_compared(self, *, missed: bool) -> None:
        """Note that all objects were compared with listings; `missed`: what was found is not built yet.

        Only who was cut off waits for that build: what a live watch missed is built at once anyway.
        """
        self.note_reached()
        self._has_missed = missed and self._was_cut_off
        self._was_cut_off = False

    @property
    def has_missed(self) -> bool:
        """Whether what was missed waits for a build that begins now or later."""
        return self._has_missed

    def note_built(self) -> None:
        """Note that what was missed is built."""
        self._has_missed = False
