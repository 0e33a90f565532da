"""Where compiled programs are kept: a home that cannot be written stops nobody from serving."""

import pytest
from zeroserve_dataplane.agent.embedding import choose_cache


@pytest.fixture
def own(tmp_path):
    return tmp_path / "own"


def test_the_cache_of_the_user_is_made_and_used(own, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    found = choose_cache(own)
    assert found == tmp_path / "home" / "cache" / "zeroserve"
    assert found.stat().st_mode & 0o777 == 0o700


def test_where_it_cannot_be_made_a_folder_of_this_run_is_used_and_the_cure_is_told(
    own, tmp_path, monkeypatch, caplog
):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert choose_cache(own) == own / "cache"
    (told,) = caplog.messages
    assert "Not a directory" in told and "XDG_CACHE_HOME" in told


def test_where_it_may_not_be_written_a_folder_of_this_run_is_used(own, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("os.access", lambda *_: False)
    assert choose_cache(own) == own / "cache"
    assert "may not be written" in caplog.messages[0]
