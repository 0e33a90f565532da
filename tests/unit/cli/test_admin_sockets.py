"""The default admin socket lies in a folder of this user's own, whoever came first to a shared folder."""

import os
import tempfile

import pytest
from zeroserve_cli.admin_sockets import find_admin_socket, require_own_folder
from zeroserve_cli.asking import ask_server
from zeroserve_dataplane.agent.commanding import AdminError

SOMEBODY = 65534


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the default socket is to be, in a shared folder."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return find_admin_socket().parent


def test_no_folder_and_an_own_one_are_fit(folder):
    require_own_folder(find_admin_socket())
    folder.mkdir()
    require_own_folder(find_admin_socket())


def test_a_link_somewhere_else_is_refused(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AdminError, match=f"{folder} is not this user's folder; .*--admin"):
        require_own_folder(find_admin_socket())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's folder")
def test_another_users_folder_is_refused_and_nobody_is_asked_there(folder, capsys):
    folder.mkdir()
    os.chown(folder, SOMEBODY, SOMEBODY)
    assert ask_server(find_admin_socket(), {"command": "status"}, str) == 1
    assert "is not this user's folder" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's folder")
def test_a_folder_that_was_named_may_be_anybodys(tmp_path):
    os.chown(tmp_path, SOMEBODY, SOMEBODY)
    require_own_folder(tmp_path / "admin.sock")
