"""docs/plugins.md, "The first one": fewer than five commands lead from nothing to an answer."""

import os
import re
import shlex
import subprocess
import urllib.request
from pathlib import Path

from ports import free_port
from starting import BIN, started

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs/plugins.md").read_text()
SECTION = TEXT[TEXT.index("## The first one") : TEXT.index("## In a route")]


def test_the_commands_of_the_page(tmp_path):
    block = re.search(r"```sh\n(.*?)```", SECTION, re.DOTALL)
    asking = re.search(r"`curl '([^']+)'` answers `([^`]+)`", SECTION)
    commands = block[1].strip().split("\n")
    assert len(commands) + 1 < 5
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    *steps, serving = commands
    for command in steps:
        subprocess.run(shlex.split(command), cwd=tmp_path, env=environment, check=True)
    # The page's port may be taken on this machine, by another test or anybody.
    port = free_port()
    caddyfile = tmp_path / "hello/Caddyfile"
    caddyfile.write_text(caddyfile.read_text().replace("http://:8080", f"http://:{port}"))
    with started(shlex.split(serving), tmp_path, port, environment=environment):
        answer = urllib.request.urlopen(asking[1].replace("8080", str(port)), timeout=60)
        assert answer.read().decode() == asking[2] + "\n"
    subprocess.run(["zeroserve", "plugin", "test", "hello"], cwd=tmp_path, env=environment, check=True)
