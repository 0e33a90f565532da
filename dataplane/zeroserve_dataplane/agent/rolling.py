"""A log file that is rolled by size, interval and time of day (Caddy: filewriter.go, timberjack).

In: whole lines. Out: the file, and its former ones beside it (`access-2026-11-21T17-00-00.000-size.log.gz`):
so many are kept for so many days. Who calls: the agent's log thread; compressing is a thread of its own.
"""

from __future__ import annotations

import contextlib
import datetime
import gzip
import logging
import os
import re
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

MEBIBYTE = 1 << 20
DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
COMPRESSION_LEVEL = 1
"""The core is the engine's to use: level 9, Python's default, takes four times as long for a quarter less."""
BACKUP_LAYOUT = "2006-01-02T15-04-05.000"
_LAYOUT_CODES = {
    "January": "%B",
    "Jan": "%b",
    "Monday": "%A",
    "Mon": "%a",
    "2006": "%Y",
    "-0700": "%z",
    "06": "%y",
    "01": "%m",
    "02": "%d",
    "15": "%H",
    "03": "%I",
    "04": "%M",
    "05": "%S",
    "PM": "%p",
}
_LAYOUT_ELEMENT = re.compile(r"\.0+|" + "|".join(_LAYOUT_CODES))


@dataclass(frozen=True, slots=True)
class RollingSettings:
    """Caddy's settings with its defaults; 0 in `size_max_bytes` is no rolling at all."""

    path: Path
    mode: int
    directory_mode: str
    size_max_bytes: int
    compress: bool
    local_time: bool
    keep: int
    keep_days: int
    interval_s: float
    marks: tuple[tuple[int, int], ...]
    """Hours and minutes of the day."""
    layout: str

    @staticmethod
    def of(writer: dict[str, Any]) -> RollingSettings:
        """Read Caddy's JSON of a file writer."""
        times = [tuple(map(int, text.split(":"))) for text in writer.get("roll_at", ()) if _is_time(text)]
        minutes = [minute for minute in writer.get("roll_minutes", ()) if 0 <= minute < 60]
        marks = {(hour, minute) for hour in range(24) for minute in minutes} | {
            (one[0], one[1]) for one in times
        }
        compression = writer.get("roll_compression") or ("gzip" if writer.get("roll_gzip", True) else "none")
        return RollingSettings(
            path=Path(writer["filename"]).absolute(),
            mode=int(str(writer.get("mode", "0")), 8),
            directory_mode=str(writer.get("dir_mode", "")).strip().lower(),
            size_max_bytes=(writer.get("roll_size_mb") or 100) * MEBIBYTE if writer.get("roll", True) else 0,
            compress=compression != "none",
            local_time=writer.get("roll_local_time", False),
            keep=writer.get("roll_keep") or 10,
            keep_days=writer.get("roll_keep_days") or 90,
            interval_s=writer.get("roll_interval", 0) / 1e9,
            marks=tuple(sorted(marks)),
            layout=writer.get("backup_time_format") or BACKUP_LAYOUT,
        )


def _is_time(text: str) -> bool:
    found = re.fullmatch(r"(\d{1,2}):(\d{1,2})", text)
    return found is not None and int(found[1]) < 24 and int(found[2]) < 60


class RollingFile:
    """The file; OSError where it cannot be opened."""

    def __init__(self, settings: RollingSettings) -> None:
        self.settings = settings
        self._tidying = threading.Lock()
        _make_directory(settings)
        self._descriptor = self._open()
        if settings.mode:
            os.fchmod(self._descriptor, settings.mode)
        self._size = os.fstat(self._descriptor).st_size
        self._rolled_at = self._now()
        self._tidy()

    def write(self, lines: bytes) -> None:
        """Append whole lines; what does not fit into the file goes to the next one."""
        self.roll_when_due()
        size_max = self.settings.size_max_bytes
        while size_max and self._size + len(lines) > size_max:
            room = size_max - self._size
            end = lines.rfind(b"\n", 0, room) + 1 if room > 0 else 0
            if not end and not self._size:
                break
            self._append(lines[:end])
            lines = lines[end:]
            self._roll("size")
        self._append(lines)

    def roll_when_due(self) -> None:
        """Roll where an interval or a time of day has passed."""
        settings = self.settings
        if not settings.size_max_bytes or not (settings.interval_s or settings.marks):
            return
        now = self._now()
        due = bool(settings.interval_s) and (now - self._rolled_at).total_seconds() >= settings.interval_s
        for hour, minute in settings.marks:
            mark = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
            due = due or self._rolled_at < mark <= now
        if due:
            self._roll("time")
            self._rolled_at = now

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def _append(self, lines: bytes) -> None:
        while lines:
            written = os.write(self._descriptor, lines)
            self._size += written
            lines = lines[written:]

    def _open(self) -> int:
        return os.open(
            self.settings.path,
            os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC,
            self.settings.mode or FILE_MODE,
        )

    def _now(self) -> datetime.datetime:
        now = datetime.datetime.now(datetime.UTC)
        return now.astimezone() if self.settings.local_time else now

    def _roll(self, reason: str) -> None:
        path = self.settings.path
        stamp = format_layout(self._now(), self.settings.layout)
        mode = os.fstat(self._descriptor).st_mode & 0o777
        path.rename(path.with_name(f"{path.stem}-{stamp}-{reason}{path.suffix}"))
        os.close(self._descriptor)
        self._descriptor = self._open()
        os.fchmod(self._descriptor, mode)
        self._size = 0
        self._tidy()

    def _tidy(self) -> None:
        if self.settings.size_max_bytes:
            threading.Thread(target=self._compress_and_remove, name="log-tidying", daemon=True).start()

    def _compress_and_remove(self) -> None:
        settings = self.settings
        with self._tidying:
            try:
                former = self._former_files()
                stamps = sorted({stamp for stamp, _ in former}, reverse=True)[: settings.keep]
                oldest = self._now().replace(tzinfo=None) - datetime.timedelta(days=settings.keep_days)
                for stamp, path in former:
                    if stamp not in stamps or stamp < oldest:
                        path.unlink(missing_ok=True)
                    elif settings.compress and path.suffix not in (".gz", ".zst"):
                        _compress(path)
            except OSError as error:
                logger.error("rolled log files of %s: %s", settings.path, error)

    def _former_files(self) -> list[tuple[datetime.datetime, Path]]:
        path = self.settings.path
        form = re.compile(re.escape(path.stem) + r"-(.+)-[^-]*" + re.escape(path.suffix) + r"(?:\.gz|\.zst)?")
        found = []
        for other in path.parent.iterdir():
            if (match := form.fullmatch(other.name)) and (
                stamp := parse_layout(match[1], self.settings.layout)
            ):
                found.append((stamp, other))
        return found


def format_layout(time: datetime.datetime, layout: str) -> str:
    """Write a time by Go's layout."""

    def write(element: re.Match[str]) -> str:
        if element[0].startswith("."):
            return "." + f"{time.microsecond:06}000"[: len(element[0]) - 1]
        return time.strftime(_LAYOUT_CODES[element[0]])

    return _LAYOUT_ELEMENT.sub(write, layout)


def parse_layout(text: str, layout: str) -> datetime.datetime | None:
    """Read a time by Go's layout, without its zone; None where it is none."""
    form = _LAYOUT_ELEMENT.sub(
        lambda element: ".%f" if element[0].startswith(".") else _LAYOUT_CODES[element[0]], layout
    )
    try:
        return datetime.datetime.strptime(text, form).replace(tzinfo=None)  # compared with its like
    except ValueError:
        return None


def _compress(path: Path) -> None:
    """Put a compressed file in the place of a file; one that was cut off is never taken for it."""
    partial = path.with_name(f"{path.name}.gz.partial")
    with (
        path.open("rb") as source,
        partial.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=COMPRESSION_LEVEL) as target,
    ):
        os.fchmod(raw.fileno(), path.stat().st_mode & 0o777)
        shutil.copyfileobj(source, target)
    partial.rename(path.with_name(f"{path.name}.gz"))
    path.unlink()


def _make_directory(settings: RollingSettings) -> None:
    folder = settings.path.parent
    if folder.is_dir():
        return
    match settings.directory_mode:
        case "" | "0":
            mode = DIRECTORY_MODE
        case "inherit":
            mode = _with_search(next(one for one in folder.parents if one.exists()).stat().st_mode & 0o777)
        case "from_file":
            mode = _with_search(settings.mode or FILE_MODE) | 0o200
        case text:
            mode = int(text, 8)
    missing = [folder, *(one for one in folder.parents if not one.exists())]
    for one in reversed(missing):
        one.mkdir(mode, exist_ok=True)


def _with_search(mode: int) -> int:
    """Who may read a directory may search it."""
    return mode | (mode & 0o444) >> 2
