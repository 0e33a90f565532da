"""The supervisor with agents that come and go: what they leave behind is no finding of its own."""

import contextlib
import signal
import socket
import subprocess

import pytest
from starting import wait_for
from zeroserve_dataplane.agent.embedding import find_engine

PATIENCE_S = 60


@pytest.fixture
def supervisor(tmp_path):
    """A supervisor that greets agents at `control` of the folder, and writes to its `log`."""
    command = [find_engine(), "supervise", f"--socket={tmp_path}/control", "--workers=1"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    wait_for([tmp_path / "control"], process, tmp_path / "log", "")
    yield process
    process.send_signal(signal.SIGCONT)
    process.terminate()
    process.wait(PATIENCE_S)


def connect(folder):
    agent = socket.socket(socket.AF_UNIX)
    agent.settimeout(PATIENCE_S)
    agent.connect(str(folder / "control"))
    return contextlib.closing(agent)


def test_an_agent_that_left_before_it_was_greeted_is_passed_over(supervisor, tmp_path):
    with connect(tmp_path) as agent:
        assert agent.recv(1)
    supervisor.send_signal(signal.SIGSTOP)
    with connect(tmp_path):
        pass
    supervisor.send_signal(signal.SIGCONT)
    with connect(tmp_path) as agent:
        assert agent.recv(1)
    assert "agent" not in (tmp_path / "log").read_text()
