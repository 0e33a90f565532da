"""`metrics` answers with this node's own metrics, where `run --metrics-port` serves them."""

import http.client
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ports import free_ports

ZEROSERVE = Path(sys.executable).parent / "zeroserve"
START_TIMEOUT_S = 60
TEXT = """{
	admin off
	auto_https off
}
http://:%d {
	metrics /numbers
	handle /plain {
		metrics {
			disable_openmetrics
		}
	}
	respond / ok
}
"""


@pytest.fixture
def port(tmp_path):
    port, metrics_port = free_ports(2)
    (tmp_path / "Caddyfile").write_text(TEXT % port)
    command = [ZEROSERVE, "run", "--config", "Caddyfile", "--admin", "off", "--workers", "1"]
    with (tmp_path / "log").open("wb") as log:
        command += ["--metrics-port", str(metrics_port)]
        node = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while time.monotonic() < deadline and node.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield port
        finally:
            node.send_signal(signal.SIGTERM)
            node.wait(timeout=30)


def ask(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", path, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, answer.getheader("Content-Type").partition(";")[0], body


def test_metrics_are_answered_at_the_matched_path_in_the_format_asked_for(port):
    status, kind, body = ask(port, "/numbers?x")
    assert (status, kind) == (200, "application/openmetrics-text")
    assert "\nzeroserve_" in body
    assert ask(port, "/") == (200, "text/plain", "ok")


def test_without_openmetrics_the_plain_format_is_sent(port):
    status, kind, body = ask(port, "/plain")
    assert (status, kind) == (200, "text/plain")
    assert "\nzeroserve_" in body


def test_without_a_metrics_port_the_configuration_is_refused(tmp_path):
    (tmp_path / "Caddyfile").write_text(TEXT % free_ports(1)[0])
    command = [ZEROSERVE, "run", "--config", "Caddyfile", "--admin", "off"]
    node = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert node.returncode != 0
    assert "ZS0110" in node.stderr
    assert "--metrics-port" in node.stderr
