"""Keys of session tickets that all nodes share, so that sessions resume wherever the next connection lands.

In: the default certificate's private key, which every replica of the operator reads, and the day. Out: keys
of the engine's `Settings.ticket_keys`. Rule: a day's key seals on that day and opens on the day after; nodes
that hear of midnight early or late understand each other.
"""

from __future__ import annotations

import datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
_LABEL = b"zeroserve session tickets "
_DAY = datetime.timedelta(days=1)


def derive_ticket_keys(secret: bytes, day: datetime.date) -> tuple[bytes, ...]:
    """Return the key that seals, then those that open besides: yesterday's and tomorrow's."""
    return tuple(_derive(secret, one) for one in (day, day - _DAY, day + _DAY))


def _derive(secret: bytes, day: datetime.date) -> bytes:
    info = _LABEL + day.isoformat().encode()
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=info).derive(secret)
