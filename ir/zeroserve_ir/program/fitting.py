"""Numbers of a configuration as fields of messages hold them.

In: integers that Caddy holds in 64 bits, with a sign. Out: the nearest ones that a field holds. Who calls:
whatever writes messages. Rule: no number that a configuration may say is too much for a message; a time of
49 days or a count of four thousand million is as good as any longer one.
"""

from __future__ import annotations

from typing import Final

U32_MAX: Final = (1 << 32) - 1
I64_MAX: Final = (1 << 63) - 1


def fit(number: int, most: int = U32_MAX) -> int:
    """Return the nearest number of 0 to `most`."""
    return min(max(number, 0), most)
