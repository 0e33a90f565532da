"""A backend can break its own request only: 502 or a cut answer, and its connection serves nobody again."""

import pytest
from conftest import statuses

NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"


def head(*fields, status=b"200 OK", body=b""):
    return b"HTTP/1.1 " + status + b"\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


REFUSED = {
    "two lengths": head(b"Content-Length: 4", b"Content-Length: 5", body=b"hello"),
    "two equal lengths": head(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
    "a list of lengths": head(b"Content-Length: 5, 5", body=b"hello"),
    "a signed length": head(b"Content-Length: +5", body=b"hello"),
    "a negative length": head(b"Content-Length: -5", body=b"hello"),
    "length and chunked": head(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunked twice": head(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
    "gzip coding": head(b"Transfer-Encoding: gzip", body=b"hello"),
    "identity coding": head(b"Transfer-Encoding: identity", body=b"hello"),
    "chunked in HTTP/1.0": head(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n").replace(b"/1.1", b"/1.0"),
    "a folded field": head(b"X: a\r\n b", b"Content-Length: 5", body=b"hello"),
    "space before the colon": head(b"Content-Length : 5", body=b"hello"),
    "a name with a space": head(b"X Y: a", b"Content-Length: 5", body=b"hello"),
    "a NUL in a value": head(b"X: a\0b", b"Content-Length: 5", body=b"hello"),
    "a bare CR in a value": head(b"X: a\rb", b"Content-Length: 5", body=b"hello"),
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "HTTP/2 in text": head(b"Content-Length: 5", body=b"hello").replace(b"/1.1", b"/2"),
    "another protocol": b"ICY 200 OK\r\n\r\n",
    "no status line": b"hello\r\n\r\n",
    "a status of two digits": head(b"Content-Length: 5", status=b"20 OK", body=b"hello"),
    "a status of four digits": head(b"Content-Length: 5", status=b"2000 OK", body=b"hello"),
    "a status below 100": head(b"Content-Length: 5", status=b"099 OK", body=b"hello"),
    "a switch nobody asked for": head(
        b"Connection: upgrade", b"Upgrade: x", status=b"101 Switching Protocols"
    ),
    "interim answers without end": head(status=b"103 Early Hints") * 4000,
    "a length on an interim answer": head(b"Content-Length: 5", status=b"100 Continue", body=b"hello"),
    "a head bomb": head(*(b"X-%d: y" % number for number in range(300))),
    "a large field": head(b"X: " + b"y" * 131_072),
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "nothing at all": b"",
}
CUT = {
    "a short body": head(b"Content-Length: 50", body=b"hello"),
    "a chunk size of no number": head(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\nxyz\r\n"),
    "a chunk line that ends by LF": head(
        b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n5\nhello\r\n0\r\n\r\n"
    ),
    "chunks that end early": head(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n"),
    "chunk data that go on": head(b"Transfer-Encoding: chunked", body=b"5\r\nhello!!\r\n0\r\n\r\n"),
}
FOLLOWED = {
    "an answer nobody asked for": head(b"Content-Length: 5", body=b"hello") + NEXT,
    "bytes after the body": head(b"Content-Length: 5", body=b"hello!!!!"),
    "bytes after the last chunk": head(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n") + NEXT,
    "a body where none may be": head(b"Content-Length: 6", status=b"304 Not Modified", body=b"stolen"),
    "a body after 204": head(status=b"204 No Content") + NEXT,
}


def ask(site, path, method="GET"):
    payload = f"{method} {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
    return site.send(payload.encode())


def lay_ready(site, answer):
    """Let /bad be answered so, and the connection closed where the answer would keep us waiting."""
    site.recorder.answers["/bad"] = answer
    site.recorder.closing.add("/bad")


@pytest.mark.parametrize("answer", REFUSED.values(), ids=REFUSED)
def test_an_answer_that_breaks_the_rules_is_502(site, answer):
    lay_ready(site, answer)
    received = ask(site, "/bad")
    assert [status for status in statuses(received) if status >= 200] == [502]
    assert b"hello" not in received
    assert ask(site, "/good").endswith(b"fine")


@pytest.mark.parametrize("answer", CUT.values(), ids=CUT)
def test_a_cut_body_is_never_ended_cleanly(site, answer):
    lay_ready(site, answer)
    received = ask(site, "/bad")
    assert not received.endswith(b"0\r\n\r\n")
    head_, _, body = received.partition(b"\r\n\r\n")
    assert b"502" in head_.split(b"\r\n")[0] or b"chunked" in head_ or len(body) < 50
    assert ask(site, "/good").endswith(b"fine")


@pytest.mark.parametrize("answer", [CUT["a short body"], CUT["chunks that end early"]])
def test_what_there_is_of_a_cut_answer_goes_to_the_client(site, answer):
    lay_ready(site, answer)
    received = ask(site, "/bad")
    assert statuses(received) == [200] and b"hello" in received


def test_a_backend_may_say_that_it_works_as_long_as_it_does(site):
    """RFC 2518 10.1."""
    done = head(b"Content-Length: 2", body=b"ok")
    site.recorder.answers["/bad"] = head(status=b"102 Processing") * 100 + done
    assert statuses(ask(site, "/bad")) == [102] * 100 + [200]


@pytest.mark.parametrize("answer", FOLLOWED.values(), ids=FOLLOWED)
def test_no_byte_of_one_answer_is_in_the_next(site, answer):
    site.recorder.answers["/bad"] = answer
    both = (
        b"GET /bad HTTP/1.1\r\nHost: a.example\r\n\r\n"
        b"GET /good HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
    )
    for _ in range(5):
        received = site.send(both)
        assert b"stolen" not in received and b"!" not in received
        assert received.endswith(b"fine")


@pytest.mark.parametrize("protocol", ["h2c", "websocket, h2c", "websocket2", ""])
def test_a_switch_to_another_protocol_than_was_asked_for_is_502(site, protocol):
    """RFC 9110 7.8."""
    fields = (b"Connection: upgrade", b"Upgrade: " + protocol.encode())
    lay_ready(site, head(*fields, status=b"101 Switching Protocols", body=b"stolen"))
    asking = b"Connection: upgrade, close\r\nUpgrade: websocket\r\n\r\n"
    received = site.send(b"GET /bad HTTP/1.1\r\nHost: a.example\r\n" + asking)
    assert statuses(received) == [502] and b"stolen" not in received


def test_an_answer_that_comes_before_its_requests_end_reaches_the_client(site):
    """The backend closes without reading the rest: its kernel resets the connection behind the answer."""
    fields = b"Host: a.example\r\nTransfer-Encoding: chunked\r\n\r\n"
    payload = b"POST /bad HTTP/1.1\r\n" + fields + b"%x\r\n%b\r\n" % (1 << 16, b"x" * (1 << 16)) * 48
    lay_ready(site, head(b"Content-Length: 5", b"Connection: close", status=b"413 Too Large", body=b"large"))
    site.recorder.early.add("/bad")
    for _ in range(10):
        assert statuses(site.send(payload, half_close=False)) == [413]


def test_an_answer_to_head_has_no_body_whatever_the_backend_sends(site):
    site.recorder.answers["/bad"] = head(b"Content-Length: 5", body=b"hello")
    received = ask(site, "/bad", "HEAD")
    assert statuses(received) == [200] and received.endswith(b"\r\n\r\n")
    assert ask(site, "/good").endswith(b"fine")
