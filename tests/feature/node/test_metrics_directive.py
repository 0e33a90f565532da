"""`metrics` answers with this node's own metrics, with and without a port for them."""

import http.client
import time

import pytest
from ports import free_ports
from starting import replace, serving

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


@pytest.fixture(params=[True, False], ids=["with a port", "without"])
def port(request, tmp_path):
    port, metrics_port = free_ports(2)
    (tmp_path / "Caddyfile").write_text(TEXT % port)
    options = ("--metrics-port", str(metrics_port)) if request.param else ()
    with serving(tmp_path, port, options=options):
        yield port


def ask(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", path, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, answer.getheader("Content-Type", "").partition(";")[0], body


def test_metrics_are_answered_at_the_matched_path_in_the_format_asked_for(port):
    status, kind, body = ask(port, "/numbers?x")
    assert (status, kind) == (200, "application/openmetrics-text")
    assert "\nzeroserve_" in body
    assert ask(port, "/") == (200, "text/plain", "ok")


def test_without_openmetrics_the_plain_format_is_sent(port):
    status, kind, body = ask(port, "/plain")
    assert (status, kind) == (200, "text/plain")
    assert "\nzeroserve_" in body


def test_a_change_that_shows_metrics_is_served(tmp_path):
    (port,) = free_ports(1)
    plain = TEXT.replace("metrics /numbers", "").partition("\thandle /plain")[0] + "\trespond / ok\n}\n"
    (tmp_path / "Caddyfile").write_text(plain % port)
    with serving(tmp_path, port, options=("--watch",)):
        assert ask(port, "/numbers")[2] == ""
        replace(tmp_path / "Caddyfile", TEXT % port)
        deadline = time.monotonic() + 60
        while not ask(port, "/numbers")[2] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "\nzeroserve_" in ask(port, "/numbers")[2]
