import os
import socket
import subprocess
import sys

import pytest

from bench.guarding import (
    GuardError,
    Listener,
    foreign_cores,
    parse_listeners,
    require_free_port,
    require_own_port,
)
from bench.processes import CoreTimes

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777 1 0
   1: 0100007F:1F91 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 888 1 0
"""


@pytest.fixture
def listening():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_only_listening_sockets_are_listeners():
    assert parse_listeners(TABLE) == [Listener(port=8080, inode=777)]


def test_a_port_that_someone_listens_on_is_refused(listening):
    with pytest.raises(GuardError, match=f"port {listening} is in use"):
        require_free_port(listening)


def test_a_free_port_is_accepted():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    require_free_port(port)


def test_a_listener_of_the_own_tree_is_accepted(listening):
    require_own_port(listening, os.getpid())


def test_a_listener_of_a_stranger_is_refused(listening):
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with pytest.raises(GuardError, match="shared with a process"):
            require_own_port(listening, stranger.pid)
    finally:
        stranger.communicate(b"\n")


def test_nobody_listening_is_refused():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(GuardError, match="nobody listens"):
        require_own_port(port, os.getpid())


def cores(*busy_and_total):
    return {number: CoreTimes(*times) for number, times in enumerate(busy_and_total)}


@pytest.mark.parametrize(
    ("own_cpu_s", "expected"),
    [
        pytest.param(1.5, 0.0, id="all of it was ours"),
        pytest.param(1.0, 0.5, id="half a core was not"),
        pytest.param(9.0, 0.0, id="never negative"),
    ],
)
def test_foreign_share_is_what_is_busy_and_not_ours(own_cpu_s, expected):
    ticks = os.sysconf("SC_CLK_TCK")
    before = cores((0, 0), (0, 0), (0, 0))
    after = cores((ticks, ticks), (ticks // 2, ticks), (ticks, ticks))
    assert foreign_cores(before, after, {0, 1}, own_cpu_s) == pytest.approx(expected)


def test_no_time_elapsed_is_no_foreign_share():
    same = cores((1, 1), (1, 1))
    assert foreign_cores(same, same, {0, 1}, 0.0) == 0.0
