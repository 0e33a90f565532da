"""Writes what a measurement found, for machines. Called by the benchmarks that have `--json`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def write_json(path: Path | None, reports: Any) -> None:
    """Write one report (a dataclass), or a list of them; None is nowhere."""
    if path is None:
        return
    found: Any
    if isinstance(reports, Sequence):
        found = [dataclasses.asdict(one) for one in reports]
    else:
        found = dataclasses.asdict(reports)
    path.write_text(json.dumps(found, indent=1) + "\n")
