"""`make serve` without make: examples/quickstart/serve.py, on ports of its own, ended as often as people do.

Needs the engine's binary (`make setup`, or ZEROSERVE_ENGINE) and tools/echo (`.make/bin/echo`).
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ports import free_ports
from starting import apart

ROOT = Path(__file__).parents[3]
PATIENCE_S = 120


@pytest.fixture
def quickstart(tmp_path):
    """The example as it is shipped, but for its ports; yields the process once it serves."""
    folder = tmp_path / "quickstart"
    shutil.copytree(ROOT / "examples/quickstart", folder)
    storefront, catalogue, plain, secure = free_ports(4)
    for path in (folder / "serve.py", folder / "manifests/services.yaml"):
        path.write_text(path.read_text().replace("18081", str(storefront)).replace("18082", str(catalogue)))
    environment = apart(tmp_path, HTTP_PORT=str(plain), HTTPS_PORT=str(secure))
    command = [sys.executable, folder / "serve.py", ROOT / ".make/bin/echo"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + PATIENCE_S
    while "==> serving after" not in (tmp_path / "log").read_text():
        assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
        time.sleep(0.05)
    yield process
    for number in find_processes(tmp_path):
        with contextlib.suppress(OSError):
            os.kill(number, signal.SIGKILL)


def find_processes(folder):
    """Return the processes that were started with a path of a folder in their command."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if os.fsencode(folder) in path.read_bytes():
                found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_signals_during_the_cleaning_up_leave_no_process_behind(quickstart, tmp_path, number):
    assert len(find_processes(tmp_path)) > 1
    while quickstart.poll() is None:
        quickstart.send_signal(number)
        time.sleep(0.001)
    assert quickstart.returncode == 0
    assert not find_processes(tmp_path)
