"""Whether a file's programs will have to be compiled: a worker for them is started before anything is read.

In: a configuration file. Out: a worker where the file, as it is now, was not served before. Called by
`zeroserve run` before it has loaded itself. The rules: a wrong guess costs time and nothing else; imports
next to nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Final

from zeroserve_dataplane.jit.starting import WorkerProcess, start_process
from zeroserve_dataplane.settings import find_cache_directory

MARKS_MAX: Final = 1024
"""Versions of files that are remembered, the latest: each is an empty file."""

_SUFFIX: Final = ".served"


class Foresight:
    """`with Foresight(path) as foresight:` has started a worker, where one will be needed."""

    def __init__(self, path: Path) -> None:
        self._mark = _find_mark(path)
        self.worker: WorkerProcess | None = None

    def __enter__(self) -> Foresight:
        if self._mark is not None and not self._mark.exists():
            with contextlib.suppress(OSError):
                self.worker = start_process()
        return self

    def __exit__(self, *_: object) -> None:
        if self.worker is not None:
            self.worker.close()

    def note_served(self) -> None:
        """Remember that the file's programs are in the cache."""
        if self._mark is not None:
            with contextlib.suppress(OSError):
                self._mark.touch()
                _forget_oldest(self._mark.parent)


def _find_mark(path: Path) -> Path | None:
    """Return the empty file that says so, beside the images; None for what cannot be read twice."""
    try:
        if not path.is_file():
            return None
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
    return find_cache_directory() / f"{digest}{_SUFFIX}"


def _forget_oldest(directory: Path) -> None:
    marks = list(directory.glob(f"*{_SUFFIX}"))
    if len(marks) > MARKS_MAX:
        for path in sorted(marks, key=_find_time)[:-MARKS_MAX]:
            path.unlink(missing_ok=True)


def _find_time(path: Path) -> float:
    """Return when the file was served last; what another process has just removed is the oldest."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
