"""A Redis server of a test's own: on a free port, in a folder, nothing kept."""

import contextlib
import signal
import socket
import subprocess
import time
import urllib.request

import pytest

START_TIMEOUT_S = 60
NOTICE_TIMEOUT_S = 60


class RunningStore:
    """Started at once; `stop` and `start` as often as a test likes, on the same port."""

    def __init__(self, folder, port, *options):
        self.port = port
        self.address = f"redis://127.0.0.1:{port}/0"
        self._command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._command += ["--save", "", "--appendonly", "no", "--daemonize", "no", *options]
        self._log = folder / "redis.log"
        self._process = None
        self.start()

    def start(self):
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(self._log.read_text())
            time.sleep(0.02)

    def freeze(self):
        """It keeps its connections and answers nobody."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)

    def stop(self):
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait(timeout=60)


def count_troubles(metrics_port):
    """How often the store did not answer in time, or a request was told so: in a quarter of a second."""
    url = f"http://127.0.0.1:{metrics_port}/metrics"
    lines = urllib.request.urlopen(url, timeout=NOTICE_TIMEOUT_S).read().decode().splitlines()
    names = "zeroserve_agent_token_store_failures_total", "zeroserve_engine_shared_limit_requests_total"
    told = [
        line for line in lines if line.startswith(names[0]) or (names[1] in line and "store_down" in line)
    ]
    return sum(float(line.rpartition(" ")[2]) for line in told if not line.startswith("#"))


def await_store(metrics_port, up):
    """Return when the engine knows that its store is there, or away."""
    deadline = time.monotonic() + NOTICE_TIMEOUT_S
    line = f"zeroserve_engine_shared_limit_store_up {up:.1f}"
    while True:
        with contextlib.suppress(OSError):
            url = f"http://127.0.0.1:{metrics_port}/metrics"
            if line in urllib.request.urlopen(url, timeout=NOTICE_TIMEOUT_S).read().decode():
                return
        assert time.monotonic() < deadline, "the engine does not notice"
        time.sleep(0.1)
