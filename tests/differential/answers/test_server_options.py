"""The option `servers` by listener: each believes its own proxies, takes in its own fields, as Caddy does."""

import difflib

import pytest
from asking import ask
from serving import serving
from tables import read_request

HEAD = """{
	admin off
	auto_https off
	servers :{$trusting} {
		trusted_proxies static 127.0.0.1/8
	}
	servers 127.0.0.1:{$trusting} {
		trusted_proxies static 127.0.0.1/8
		client_ip_headers CF-Connecting-IP
	}
	servers 127.0.0.1:{$twin_fields} {
		expected_underscore_headers X_Kept hook_*
		expected_dot_headers X.Dot
	}
}
"""
NAMES = ["trusting", "twin_fields", "proxying"]
LINES = (
    "GET / X-Forwarded-For=192.0.2.1",
    "GET / CF-Connecting-IP=192.0.2.9 X-Forwarded-For=192.0.2.1",
    "GET / X_Kept=1 X-Kept=2 X_Other=3 Hook_A=4 Hook-A=5 X.Dot=6 X-Dot=7",
    "GET / X_Kept=1 x_kept=2 Hook_A.b=3 hook_=4",
    "GET / X.Dot=1 x.dot=2",
)
REQUESTS = [read_request(name, line) for name in NAMES for line in LINES]


@pytest.fixture(scope="module")
def listening_servers(tmp_path_factory, variables):
    with serving(tmp_path_factory, variables, head=HEAD, names=NAMES) as started:
        yield started


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_each_listener_has_its_own(listening_servers, request_):
    caddy, ours = (ask(server.port(request_.case, False), request_) for server in listening_servers)
    if ours != caddy:
        pytest.fail("\n".join(difflib.ndiff(caddy.lines(), ours.lines())), pytrace=False)
