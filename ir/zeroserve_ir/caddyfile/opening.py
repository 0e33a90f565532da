"""The bytes of a configuration file; `-` stands for standard input, as for Caddy.

In: a path. Out: bytes, or OSError. Who calls: the readers of Caddyfiles and of Caddy's JSON.
"""

from __future__ import annotations

import sys
from pathlib import Path

STANDARD_INPUT = Path("-")


def read_source(path: Path) -> bytes:
    """Return what a file holds, or all of standard input."""
    return sys.stdin.buffer.read() if path == STANDARD_INPUT else path.read_bytes()
