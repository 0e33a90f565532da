"""`metrics` answers with this node's own metrics, where `run --metrics-port` serves them."""

import http.client
import subprocess

import pytest
from ports import free_ports
from starting import ZEROSERVE, serving

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
    with serving(tmp_path, port, options=("--metrics-port", str(metrics_port))):
        yield port


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
