"""The cycle collector, paused where much is made at once that lives on.

Who calls: whoever loads modules, a configuration or a snapshot, and who serves a change. Rule: a pause ends;
what was made meanwhile is looked through then, or never where it is there for life.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def collection_paused(*, for_life: bool = False) -> Iterator[None]:
    """Without it: a tenth to a quarter of the time goes over millions of objects and finds nothing.

    `for_life`: what was made is not looked through later either, such as modules; it is freed all the same
    when the last reference to it goes. A pause within a pause ends with the outer one.
    """
    paused = gc.isenabled()
    gc.disable()
    try:
        yield
        if for_life:
            gc.freeze()
    finally:
        if paused:
            gc.enable()
