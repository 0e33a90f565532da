"""What serves Kubernetes objects explains itself to whoever carries a signed debug header, as `run` does."""

import json
import subprocess
import time

import pytest
from ports import free_ports
from starting import ZEROSERVE, apart, started
from zeroserve_cli.signing import FIELD, sign_request
from zeroserve_operator.drafting import draft_settings
from zeroserve_operator.settings import BuildSettings

from .asking_explained import ask

PATIENCE_S = 60
KEY = b"a key of these tests, long enough"
ROUTE = """apiVersion: zeroserve.dev/v1alpha1
kind: ZeroserveRoute
metadata: {name: told, namespace: default}
spec:
  hosts: [a.test]
  caddyfile: |
    handle /api/* {
      respond "api"
    }
    respond "rest"
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained")
    (folder / "manifests").mkdir()
    (folder / "manifests" / "route.yaml").write_text(ROUTE)
    (folder / "key").write_bytes(KEY + b"\n")
    port, tls_port = free_ports(2)
    command = [ZEROSERVE, "dev", "manifests", "--bind", "127.0.0.1", "--explain-key", "key", "--access-log"]
    command += ["--http-port", str(port), "--https-port", str(tls_port), "--workers", "1"]
    with started(command, folder, port, environment=apart(folder)):
        yield folder, port


def sign(host):
    return {FIELD: sign_request(host, KEY, int(time.time()) + 60)}


def test_the_answer_and_the_log_line_tell_it(node):
    folder, port = node
    body, told = ask(port, "/api/x", **sign("a.test"))
    assert body == "api"
    assert "path /api/*" in told
    assert told.endswith("respond 'api'\"")
    deadline = time.monotonic() + PATIENCE_S
    while "explained" not in (folder / "log").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    (line,) = [line for line in (folder / "log").read_text().splitlines() if '"explained"' in line]
    assert json.loads(line)["explained"] == told


def test_nobody_else_is_told(node):
    _, port = node
    assert ask(port, "/api/x") == ("api", None)
    assert ask(port, "/api/x", **sign("b.test")) == ("api", None)


def test_a_key_that_is_none_is_refused(tmp_path):
    (tmp_path / "key").write_text("short\n")
    command = [ZEROSERVE, "dev", ".", "--explain-key", "key"]
    found = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 1
    assert "at least 16 bytes" in found.stderr


def test_nodes_of_a_cluster_get_the_operators_key():
    (message, *_) = draft_settings(BuildSettings(explain_key=KEY), "")
    assert KEY in message.payload
    assert repr(KEY) not in repr(BuildSettings(explain_key=KEY))
