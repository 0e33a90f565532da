"""Log files are rolled by size and time; former ones are compressed, and removed in time."""

import datetime
import gzip
import stat
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zeroserve_dataplane.agent import rolling
from zeroserve_dataplane.agent.rolling import (
    BACKUP_LAYOUT,
    RollingFile,
    RollingSettings,
    format_layout,
    parse_layout,
)

LINE = b"0123456789abcde\n"


def settings(path, **writer):
    return RollingSettings.of({"filename": str(path), **writer})


@pytest.fixture
def small(monkeypatch):
    """A MiB of four lines."""
    monkeypatch.setattr(rolling, "MEBIBYTE", 4 * len(LINE))


def wait_for(holds):
    deadline = time.monotonic() + 60
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holds()


def former(path, pattern="access-*"):
    return sorted(path.parent.glob(pattern))


def test_a_batch_is_cut_between_lines_where_the_file_is_full(tmp_path, small):
    path = tmp_path / "access.log"
    log = RollingFile(settings(path, roll_size_mb=1, roll_gzip=False))
    log.write(LINE * 3)
    log.write(LINE * 3)
    log.close()
    assert path.read_bytes() == LINE * 2
    (rolled,) = former(path)
    assert rolled.read_bytes() == LINE * 4
    assert rolled.name.endswith("-size.log")


def test_what_was_there_before_counts(tmp_path, small):
    path = tmp_path / "access.log"
    path.write_bytes(LINE * 4)
    log = RollingFile(settings(path, roll_size_mb=1, roll_gzip=False))
    log.write(LINE)
    log.close()
    assert path.read_bytes() == LINE


def test_former_files_are_compressed(tmp_path, small):
    path = tmp_path / "access.log"
    log = RollingFile(settings(path, roll_size_mb=1))
    log.write(LINE * 5)
    wait_for(lambda: [one.suffix for one in former(path)] == [".gz"])
    log.close()
    assert gzip.decompress(former(path)[0].read_bytes()) == LINE * 4


def test_so_many_are_kept_and_none_that_is_too_old(tmp_path, small):
    path = tmp_path / "access.log"
    stamps = [datetime.datetime(2020, 1, day, tzinfo=datetime.UTC) for day in range(1, 4)]
    now = datetime.datetime.now(datetime.UTC)
    stamps += [now - datetime.timedelta(hours=hour) for hour in range(1, 5)]
    names = [f"access-{format_layout(stamp, BACKUP_LAYOUT)}-size.log" for stamp in stamps]
    for name in (*names, "access-notes.log", "other-2020-01-01T00-00-00.000-size.log"):
        (tmp_path / name).write_bytes(b"")
    log = RollingFile(settings(path, roll_keep=3, roll_keep_days=1, roll_gzip=False))
    wait_for(lambda: len(former(path, "access-20*")) == 3)
    log.close()
    assert {one.name for one in former(path, "access-20*")} == set(names[3:6])
    assert len(former(path, "*")) == 6


def test_an_interval_and_a_time_of_day_roll(tmp_path, monkeypatch):
    path = tmp_path / "access.log"
    log = RollingFile(settings(path, roll_interval=3600 * 10**9, roll_at=["12:00"], roll_gzip=False))
    now = datetime.datetime(2026, 1, 1, 11, 50, tzinfo=datetime.UTC)
    monkeypatch.setattr(RollingFile, "_now", lambda self: now)
    log._rolled_at = now
    for minutes, expected in ((5, 0), (6, 1), (30, 1), (31, 2)):
        now += datetime.timedelta(minutes=minutes)
        log.roll_when_due()
        assert len(former(path)) == expected
    log.close()


def test_without_rolling_a_file_grows(tmp_path, small):
    path = tmp_path / "access.log"
    log = RollingFile(settings(path, roll=False))
    log.write(LINE * 9)
    log.close()
    assert path.read_bytes() == LINE * 9


@pytest.mark.parametrize(
    ("writer", "file_mode", "folder_mode"),
    [
        ({}, 0o600, 0o700),
        ({"mode": "0640", "dir_mode": "from_file"}, 0o640, 0o750),
        ({"mode": "0644", "dir_mode": "0711"}, 0o644, 0o711),
    ],
)
def test_file_and_directories_get_their_modes(tmp_path, writer, file_mode, folder_mode):
    path = tmp_path / "logs" / "deep" / "access.log"
    RollingFile(settings(path, **writer)).close()
    assert stat.S_IMODE(path.stat().st_mode) == file_mode
    assert stat.S_IMODE(path.parent.stat().st_mode) == folder_mode


@given(st.datetimes(min_value=datetime.datetime(1970, 1, 1), max_value=datetime.datetime(2200, 1, 1)))
def test_a_stamp_is_read_as_it_was_written(stamp):
    stamp = stamp.replace(microsecond=stamp.microsecond // 1000 * 1000)
    assert parse_layout(format_layout(stamp, BACKUP_LAYOUT), BACKUP_LAYOUT) == stamp


def test_what_is_no_stamp_is_none():
    assert parse_layout("notes", BACKUP_LAYOUT) is None
