"""Waiting for an event, and no longer than it is worth.

In: an event, seconds. Out: whether it came. Called by everything here that acts on changes and from time to
time.
"""

from __future__ import annotations

import asyncio


async def wait_at_most(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait until an event is set, or for some seconds (None: for ever); True when it is set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
