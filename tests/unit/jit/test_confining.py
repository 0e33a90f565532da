"""A compile worker has no network, files, children, or memory without end."""

import os
import platform
import subprocess
import sys

import pytest

ATTEMPTS = {
    "socket": "import socket; socket.socket()",
    "file": "open('/etc/passwd')",
    "new-file": "open('/tmp/zeroserve-confined', 'w')",
    "fork": "os.fork()",
    "exec": "os.execv('/bin/true', ['true'])",
    "kill": "os.kill(os.getppid(), 0)",
    "thread": "signal_thread(os.getppid())",
}


TGKILL = 131 if platform.machine() == "aarch64" else 234


def run_confined(statement):
    script = (
        "import ctypes, os, sys, socket\n"
        "from zeroserve_ir.confining import confine\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def signal_thread(process):\n"
        f"    if libc.syscall({TGKILL}, process, process, 0):\n"
        "        raise OSError(ctypes.get_errno(), '')\n"
        "confined = confine()\n"
        "try:\n"
        f"    {statement}\n"
        "except OSError as error:\n"
        "    print(confined, error.errno)\n"
        "except MemoryError:\n"
        "    print(confined, 'memory')\n"
        "else:\n"
        "    print(confined, 'done')\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False
    )
    return done.stdout.split()


@pytest.mark.skipif(platform.machine() not in {"x86_64", "aarch64"}, reason="no filter for this machine")
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_confined_process_may_not(attempt):
    assert run_confined(ATTEMPTS[attempt]) == ["True", "1"]


def test_confined_process_may_compute():
    assert run_confined("sum(range(1000))")[1] == "done"


def test_confined_process_may_signal_itself():
    assert run_confined("signal_thread(os.getpid())")[1] == "done"


def test_memory_is_bounded():
    assert run_confined("bytearray(8 << 30)")[1] == "memory"
