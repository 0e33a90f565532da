"""Upstreams that change their standing over several requests do so as behind stock Caddy."""

import time

import pytest
from asking import ask, exchange
from tables import Request

DEADLINE_S = 60


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


def test_an_upstream_that_redirects_its_probes_is_left_out(servers):
    for server in servers:
        deadline = time.monotonic() + DEADLINE_S
        while ask(server.port("upstreams", False), request("/moved/")).status != 503:
            assert time.monotonic() < deadline, server.name
            time.sleep(0.1)


def test_an_upstream_that_answers_an_unhealthy_status_is_left_out(servers):
    for server in servers:
        port = server.port("upstreams", False)
        first = ask(port, request("/judged/", "X-Answer: 503"))
        assert (first.status, backend_of(first)) == (503, "one"), server.name
        assert [backend_of(ask(port, request("/judged/"))) for _ in range(3)] == ["two"] * 3, server.name


def test_an_upstream_that_is_slow_too_often_is_left_out(servers):
    for server in servers:
        port = server.port("upstreams", False)
        answers = [backend_of(ask(port, request("/slow/", "X-Delay: 0.05"))) for _ in range(4)]
        assert answers == ["one", "one", "two", "two"], server.name


@pytest.mark.parametrize("body", [b"whole", b"more than the buffer"])
def test_a_body_in_chunks_stays_in_chunks_whatever_is_kept_of_it(servers, body):
    """`request_buffers`: the rest of a longer one streams on."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:3], body[3:]))
    head = b"POST /buffered/ HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    for server in servers:
        payload = Request("upstreams", "/buffered/", head + chunks + b"0\r\n\r\n")
        answer = ask(server.port("upstreams", False), payload)
        lines = answer.body.splitlines()
        assert ("transfer-encoding: chunked" in lines, lines[-1]) == (True, body.decode()), server.name


def test_trailers_of_an_answer_come_through(servers):
    for server in servers:
        data = exchange(server.port("upstreams", False), request("/trailing/").payload, None)
        head, _, body = data.partition(b"\r\n\r\n")
        announced = [line.lower() for line in head.split(b"\r\n") if line.lower().startswith(b"trailer:")]
        names = {name.strip() for line in announced for name in line.partition(b":")[2].split(b",")}
        assert names == {b"x-check", b"x-other"}, server.name
        _, _, trailers = body.partition(b"\r\n0\r\n")
        assert sorted(trailers.split(b"\r\n")) == [b"", b"", b"X-Check: 1", b"X-Other: two"], server.name


def test_a_sticky_session_stays_with_its_upstream(servers):
    for server in servers:
        port = server.port("upstreams", False)
        first = ask(port, request("/cookie/"))
        cookies = [value for name, value in first.fields if name == "set-cookie" and "sticky=" in value]
        assert len(cookies) == 1, server.name
        again = ask(port, request("/cookie/", f"Cookie: {cookies[0].partition(';')[0]}"))
        assert backend_of(again) == backend_of(first)
        assert not [value for name, value in again.fields if "sticky=" in value], server.name
