"""A compile worker is started ahead for a file that was not served as it is now, and for no other."""

import os

import pytest
from zeroserve_dataplane.jit import foreseeing
from zeroserve_dataplane.jit.foreseeing import Foresight


@pytest.fixture
def caddyfile(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "zeroserve").mkdir()
    path = tmp_path / "Caddyfile"
    path.write_text("respond 1")
    return path


def starts_ahead(path, *, is_served=False):
    with Foresight(path) as foresight:
        if is_served:
            foresight.note_served()
        started = foresight.worker
    if started is not None:
        # It ends by itself, as nobody took it over.
        started.process.wait(timeout=60)
    return started is not None


def test_worker_is_started_until_the_file_was_served(caddyfile):
    assert starts_ahead(caddyfile)
    assert starts_ahead(caddyfile, is_served=True)
    assert not starts_ahead(caddyfile)


def test_worker_is_started_for_a_file_that_changed(caddyfile):
    starts_ahead(caddyfile, is_served=True)
    caddyfile.write_text("respond 2")
    assert starts_ahead(caddyfile)


def test_nothing_is_read_or_started_for_a_file_that_is_none(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert not starts_ahead(pipe)
    assert not starts_ahead(tmp_path / "missing")


def test_cache_that_cannot_be_written_changes_nothing(caddyfile, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(caddyfile))
    assert starts_ahead(caddyfile, is_served=True)


def test_the_latest_versions_are_remembered_and_no_more_than_fit(caddyfile, monkeypatch):
    monkeypatch.setattr(foreseeing, "MARKS_MAX", 2)
    for version in range(4):
        make_older(caddyfile.parent / "zeroserve")
        caddyfile.write_text(f"respond {version}")
        Foresight(caddyfile).note_served()
    assert len(list((caddyfile.parent / "zeroserve").iterdir())) == 2
    assert not starts_ahead(caddyfile)
    caddyfile.write_text("respond 1")
    assert starts_ahead(caddyfile)


def make_older(directory):
    """By a minute: files that were made at once would be of one age."""
    for mark in directory.iterdir():
        then_s = mark.stat().st_mtime - 60
        os.utime(mark, (then_s, then_s))
