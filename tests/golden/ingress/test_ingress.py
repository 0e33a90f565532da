"""Objects to Caddyfile and findings: CASE.in.yaml to CASE.out.caddyfile and CASE.out.status.yaml.

A new case is a new file; `make golden` writes what comes out, and its diff is read before it is committed.
"""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.caddyfile.printer import print_configuration
from zeroserve_ir.tree import Configuration
from zeroserve_operator.manifests import load_texts
from zeroserve_operator.pipeline import Pipeline

HERE = Path(__file__).parent
CASES = sorted(path.name.removesuffix(".in.yaml") for path in HERE.glob("*.in.yaml"))
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def load(case):
    text = (HERE / f"{case}.in.yaml").read_text()
    return Pipeline(now=lambda: NOW).load(load_texts({f"{case}.in.yaml": text}))


def compare(path, text):
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text)
    assert path.exists(), f"no {path.name}: write it with `make golden`"
    assert text == path.read_text()


def describe(loaded):
    endpoints = {}
    for (kind, name), resource in sorted(loaded.draft.resources.items()):
        if kind == pb.ENDPOINTS:
            found = pb.Endpoints.FromString(resource.payload).endpoints
            endpoints[name] = [f"{one.address} {one.port}{' draining' * one.draining}" for one in found]
    findings = [f"{item.severity.value} {item.render_short()}" for item in loaded.diagnostics]
    return yaml.safe_dump({"diagnostics": findings, "endpoints": endpoints}, width=200, sort_keys=False)


@pytest.mark.parametrize("case", CASES)
def test_sites(case):
    compare(HERE / f"{case}.out.caddyfile", print_configuration(Configuration(load(case).sites)))


@pytest.mark.parametrize("case", CASES)
def test_findings_and_endpoints(case):
    compare(HERE / f"{case}.out.status.yaml", describe(load(case)))


@pytest.mark.parametrize("case", CASES)
def test_stock_caddy_takes_what_is_printed(case):
    caddy = Path(sys.executable).with_name("caddy")
    config = HERE / f"{case}.out.caddyfile"
    command = [caddy, "adapt", "--adapter", "caddyfile", "--config", config]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
