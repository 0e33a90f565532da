"""Upstreams that change their standing over several requests do so as behind stock Caddy."""

import time

import pytest
from asking import ask
from tables import Request

DEADLINE_S = 20


def request(path, *fields):
    lines = [f"GET {path} HTTP/1.1", "Host: a.example", "Connection: close", *fields, "", ""]
    return Request("upstreams", path, "\r\n".join(lines).encode())


def backend_of(answer):
    return dict(answer.fields).get("x-backend")


def test_an_upstream_whose_probes_fail_is_left_out(servers):
    for server in servers:
        deadline = time.monotonic() + DEADLINE_S
        while backend_of(ask(server.port("upstreams", False), request("/probed/"))) != "two":
            if time.monotonic() > deadline:
                pytest.fail(f"{server.name} keeps an unhealthy upstream")
            time.sleep(0.1)


def test_an_upstream_that_answers_an_unhealthy_status_is_left_out(servers):
    for server in servers:
        port = server.port("upstreams", False)
        first = ask(port, request("/judged/", "X-Answer: 503"))
        assert (first.status, backend_of(first)) == (503, "one"), server.name
        assert [backend_of(ask(port, request("/judged/"))) for _ in range(3)] == ["two"] * 3, server.name


def test_a_sticky_session_stays_with_its_upstream(servers):
    for server in servers:
        port = server.port("upstreams", False)
        first = ask(port, request("/cookie/"))
        cookies = [value for name, value in first.fields if name == "set-cookie" and "sticky=" in value]
        assert len(cookies) == 1, server.name
        again = ask(port, request("/cookie/", f"Cookie: {cookies[0].partition(';')[0]}"))
        assert backend_of(again) == backend_of(first)
        assert not [value for name, value in again.fields if "sticky=" in value], server.name
