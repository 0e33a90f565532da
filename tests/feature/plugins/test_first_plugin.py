"""docs/plugins.md, "The first one": fewer than five commands lead from nothing to an answer."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from ports import free_port

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs/plugins.md").read_text()
SECTION = TEXT[TEXT.index("## The first one") : TEXT.index("## In a route")]
START_TIMEOUT_S = 60


def test_the_commands_of_the_page(tmp_path):
    block = re.search(r"```sh\n(.*?)```", SECTION, re.DOTALL)
    asking = re.search(r"`curl '([^']+)'` answers `([^`]+)`", SECTION)
    commands = block[1].strip().split("\n")
    assert len(commands) + 1 < 5
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    *steps, serving = commands
    for command in steps:
        subprocess.run(shlex.split(command), cwd=tmp_path, env=environment, check=True)
    # The page's port may be taken on this machine, by another test or anybody.
    port = free_port()
    caddyfile = tmp_path / "hello/Caddyfile"
    caddyfile.write_text(caddyfile.read_text().replace("http://:8080", f"http://:{port}"))
    node = subprocess.Popen(shlex.split(serving), cwd=tmp_path, env=environment)
    try:
        url = asking[1].replace("8080", str(port))
        assert wait_for(url, node) == asking[2] + "\n"
    finally:
        node.send_signal(signal.SIGTERM)
        node.wait(timeout=30)
    subprocess.run(["zeroserve", "plugin", "test", "hello"], cwd=tmp_path, env=environment, check=True)


def wait_for(url, node):
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and node.poll() is None:
        try:
            return urllib.request.urlopen(url, timeout=10).read().decode()
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"no answer from {url}")
