"""Commands to a running server start at once: they load nothing of what serves."""

import subprocess
import sys

import pytest

HEAVY = (
    "asyncio",
    "google.protobuf",
    "cryptography",
    "zeroserve_ir.tree",
    "zeroserve_ir.caddyfile",
    "zeroserve_dataplane.agent.applying",
)


@pytest.mark.parametrize("module", ["reloading", "upgrading", "purging"])
def test_a_command_to_a_running_server_loads_nothing_heavy(module):
    code = f"import sys, zeroserve_cli.main, zeroserve_cli.{module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"zeroserve_cli.{module}" in loaded.stdout.split()
    assert not set(HEAVY) & set(loaded.stdout.split())
