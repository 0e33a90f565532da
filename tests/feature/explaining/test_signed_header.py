"""A running server explains itself to whoever carries a signed debug header."""

import json
import subprocess
import time

import pytest
from ports import free_port
from starting import ZEROSERVE, serving

from .asking_explained import ask

PATIENCE_S = 60
CADDYFILE = """{
	admin off
	auto_https off
}
http://a.test:%d {
	log {
		output file access.log
	}
	handle /api/* {
		respond "api"
	}
	handle {
		respond "rest"
	}
}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained")
    port = free_port()
    (folder / "Caddyfile").write_text(CADDYFILE % port)
    (folder / "key").write_text("a key of these tests, long enough\n")
    with serving(folder, port, options=("--explain-key", "key")):
        yield folder, port


def sign(folder, host, *more):
    command = [ZEROSERVE, "explain", "--sign", host, "--key", folder / "key", *more]
    name, _, value = subprocess.run(command, check=True, capture_output=True, text=True).stdout.partition(":")
    return {name: value.strip()}


def test_the_answer_tells_site_route_matchers_and_handler(site):
    folder, port = site
    body, told = ask(port, "/api/x", **sign(folder, "a.test"))
    assert body == "api"
    assert "http://a.test" in told
    assert 'Caddyfile:9 path /api/*"; handler="' in told
    assert told.endswith("respond 'api'\"")


def test_the_log_line_tells_it_too(site):
    folder, port = site
    _, told = ask(port, "/api/logged", **sign(folder, "a.test"))
    log, deadline = folder / "access.log", time.monotonic() + PATIENCE_S
    # It is made when its first line comes.
    while not log.exists() or "/api/logged" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (line,) = [line for line in lines if line["request"]["uri"] == "/api/logged"]
    assert line["explained"] == told


def test_nobody_else_is_told(site):
    folder, port = site
    assert ask(port, "/api/x") == ("api", None)
    assert ask(port, "/api/x", **sign(folder, "b.test")) == ("api", None)
    assert ask(port, "/api/x", **sign(folder, "a.test", "--valid-for", "-5")) == ("api", None)
    assert ask(port, "/api/x", **{"X-Zeroserve-Explain": "1.00"}) == ("api", None)


def test_the_explained_host_cannot_be_asked_for(site):
    _, port = site
    body, told = ask(port, "/api/x", Host=f"explained http://a.test@http-{port}")
    assert (body, told) == ("400 Bad Request: malformed Host header", None)
