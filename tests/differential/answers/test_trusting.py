"""Who is believed about the client's address: the option `servers` in its forms, as stock Caddy takes it."""

import difflib

import pytest
from asking import ask
from serving import serving
from tables import read_requests

HEAD = """{
	admin off
	auto_https off
	servers {
		trusted_proxies static 127.0.0.1/8 10.0.0.0/8
%s	}
}
"""
OPTIONS = {
    "the first address counts": "",
    "the last that is no proxy counts": "\t\ttrusted_proxies_strict\n",
    "other fields": "\t\tclient_ip_headers X-Real-IP X-Forwarded-For\n",
    "other fields, strictly": "\t\tclient_ip_headers X-Real-IP X-Forwarded-For\n\t\ttrusted_proxies_strict\n",
}


@pytest.fixture(scope="module", params=OPTIONS.values(), ids=OPTIONS.keys())
def trusting_servers(request, tmp_path_factory, variables):
    head = HEAD % request.param
    with serving(tmp_path_factory, variables, head=head, names=["trusting"]) as started:
        yield started


@pytest.mark.parametrize("request_", read_requests("trusting"), ids=str)
def test_the_client(trusting_servers, request_):
    caddy, ours = (ask(server.port("trusting", False), request_) for server in trusting_servers)
    if ours != caddy:
        pytest.fail("\n".join(difflib.ndiff(caddy.lines(), ours.lines())), pytrace=False)
