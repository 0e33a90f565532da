"""The end of tasks.

In: tasks that run. Out: none of them does. Who calls: whoever closes what it started. Rule: one cancellation
is not enough, as a client library may take it for its own timeout and go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

PATIENCE_S = 1.0
"""Between two cancellations: time for a task to say goodbye."""


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until all have ended; how they end is nobody's matter any more."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        ended, pending = await asyncio.wait(pending, timeout=PATIENCE_S)
        for task in ended:
            if not task.cancelled():
                task.exception()
