"""One reading (RFC 9112): bytes that two parsers could read as different requests never reach a backend."""

import pytest
from conftest import statuses

HEAD = b"Host: a.example\r\n"
# What a smuggled request would look like; a backend that ever sees it was reached past the one in front.
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a.example\r\n\r\n"
CHUNKED = b"POST /a HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def post(*fields, body=b"", version=b"1.1"):
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"POST /a HTTP/" + version + b"\r\n" + HEAD + lines + b"\r\n" + body


def get(*fields, target=b"/a", version=b"1.1", host=HEAD):
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"GET " + target + b" HTTP/" + version + b"\r\n" + host + lines + b"\r\n"


BODY = b"0\r\n\r\n"
REFUSED = {
    "length and chunked": post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=BODY + HIDDEN),
    "chunked and length": post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=BODY + HIDDEN),
    "two lengths": post(b"Content-Length: 0", b"Content-Length: 5", body=HIDDEN),
    "two equal lengths": post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello" + HIDDEN),
    "a list of lengths": post(b"Content-Length: 5, 5", body=b"hello" + HIDDEN),
    "a signed length": post(b"Content-Length: +5", body=b"hello" + HIDDEN),
    "a negative length": post(b"Content-Length: -5", body=b"hello" + HIDDEN),
    "a hexadecimal length": post(b"Content-Length: 0x5", body=b"hello" + HIDDEN),
    "an octal-looking word": post(b"Content-Length: 5_0", body=b"hello" + HIDDEN),
    "an empty length": post(b"Content-Length:", body=HIDDEN),
    "a length past 64 bits": post(b"Content-Length: 18446744073709551621", body=b"hello" + HIDDEN),
    "chunked twice": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=BODY + HIDDEN),
    "chunked, chunked": post(b"Transfer-Encoding: chunked, chunked", body=BODY + HIDDEN),
    "gzip, chunked": post(b"Transfer-Encoding: gzip, chunked", body=BODY + HIDDEN),
    "chunked, identity": post(b"Transfer-Encoding: chunked, identity", body=BODY + HIDDEN),
    "identity": post(b"Transfer-Encoding: identity", body=HIDDEN),
    "xchunked": post(b"Transfer-Encoding: xchunked", body=BODY + HIDDEN),
    "quoted coding": post(b'Transfer-Encoding: "chunked"', body=BODY + HIDDEN),
    "coding with a parameter": post(b"Transfer-Encoding: chunked;q=1", body=BODY + HIDDEN),
    "vertical tab before the coding": post(b"Transfer-Encoding: \x0bchunked", body=BODY + HIDDEN),
    "NUL before the coding": post(b"Transfer-Encoding: \0chunked", body=BODY + HIDDEN),
    "space before the colon": post(b"Transfer-Encoding : chunked", body=BODY + HIDDEN),
    "tab before the colon": post(b"Content-Length\t: 5", body=b"hello" + HIDDEN),
    "an empty coding": post(b"Transfer-Encoding:", body=BODY + HIDDEN),
    "chunked in HTTP/1.0": post(b"Transfer-Encoding: chunked", body=BODY + HIDDEN, version=b"1.0"),
    "a folded field": get(b"X: a\r\n b"),
    "a folded coding": post(b"Transfer-Encoding:\r\n chunked", body=BODY + HIDDEN),
    "a line that begins with a space": get(b" X: a"),
    "a field without a colon": get(b"X"),
    "a field without a name": get(b": a"),
    "a name with a space": get(b"X Y: a"),
    "a name with a bracket": get(b"X(Y): a"),
    "a name with a byte above 127": get(b"X\xe9: a"),
    "a bare CR in a value": get(b"X: a\rTransfer-Encoding: chunked"),
    "a bare LF in a value": get(b"X: a\nTransfer-Encoding: chunked"),
    "a NUL in a value": get(b"X: a\0b"),
    "a DEL in a value": get(b"X: a\x7fb"),
    "a bell in a value": get(b"X: a\x07b"),
    "bare line feeds": b"GET /a HTTP/1.1\nHost: a.example\n\n",
    "a bare line feed at the end": b"GET /a HTTP/1.1\r\nHost: a.example\r\n\n",
    "two spaces after the method": b"GET  /a HTTP/1.1\r\n" + HEAD + b"\r\n",
    "two spaces before the version": b"GET /a  HTTP/1.1\r\n" + HEAD + b"\r\n",
    "a space after the version": b"GET /a HTTP/1.1 \r\n" + HEAD + b"\r\n",
    "a tab for a space": b"GET\t/a\tHTTP/1.1\r\n" + HEAD + b"\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\n" + HEAD + b"\r\n",
    "no version": b"GET /a\r\n" + HEAD + b"\r\n",
    "HTTP/0.9": b"GET /a\r\n\r\n",
    "a version in small letters": get(version=b"1.1").replace(b"HTTP", b"http"),
    "HTTP/1.2": get(version=b"1.2"),
    "HTTP/2.0 in text": get(version=b"2.0"),
    "HTTP/11": get(version=b"11"),
    "a version without a minor one": get(version=b"1"),
    "a version with leading zeros": get(version=b"01.01"),
    "a version with a space": get(version=b" 1.1"),
    "a control byte in the target": get(target=b"/a\x01"),
    "a byte above 127 in the target": get(target=b"/\xe9"),
    "a NUL in the method": b"GE\0T /a HTTP/1.1\r\n" + HEAD + b"\r\n",
    "an empty method": b" /a HTTP/1.1\r\n" + HEAD + b"\r\n",
    "two empty lines in front": b"\r\n\r\n\r\n" + get(),
    "CONNECT": b"CONNECT a.example:80 HTTP/1.1\r\n" + HEAD + b"\r\n",
    "no host": get(host=b""),
    "an empty host": get(host=b"Host: \r\n"),
    "a host that is only a port": get(host=b"Host: :80\r\n"),
    "an absolute form without a host": get(target=b"http:///a"),
    "two hosts": get(host=HEAD + b"Host: b.example\r\n"),
    "two equal hosts": get(host=HEAD + HEAD),
    "a host with a space": get(host=b"Host: a.example b\r\n"),
    "a host with a path": get(host=b"Host: a.example/b\r\n"),
    "a host with a user": get(host=b"Host: me@a.example\r\n"),
    "a host with a comma": get(host=b"Host: a.example,b.example\r\n"),
    "a port that is no number": get(host=b"Host: a.example:x\r\n"),
    "a port past 65535": get(host=b"Host: a.example:65536\r\n"),
    "absolute form for another host": get(target=b"http://b.example/a"),
    "a second request by obs-fold": get(b"X: y\r\n GET /hidden HTTP/1.1"),
    "an unknown expectation": post(b"Expect: a-miracle", b"Content-Length: 0"),
}
BROKEN_BODIES = {
    "a chunk size with a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "a chunk size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a chunk size with a space in front": b" 5\r\nhello\r\n0\r\n\r\n",
    "a chunk size with an underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "an empty chunk size": b"\r\nhello\r\n0\r\n\r\n",
    "a chunk size past 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "a chunk line that ends by LF": b"5\nhello\r\n0\r\n\r\n",
    "chunk data that end by LF": b"5\r\nhello\n0\r\n\r\n",
    "chunk data that go on": b"5\r\nhello!!0\r\n\r\n",
    "an extension with a bare LF": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "an extension with a bare CR": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "an extension without a name": b"5;\r\nhello\r\n0\r\n\r\n",
    "an extension's name in brackets": b"5;[a]\r\nhello\r\n0\r\n\r\n",
    "an extension's text without an end": b'5;a="\r\nhello"\r\n0\r\n\r\n',
    "an extension with a NUL": b"5;a\0\r\nhello\r\n0\r\n\r\n",
    "a last chunk that ends by LF": b"5\r\nhello\r\n0\n\r\n",
    "trailers that end by LF": b"5\r\nhello\r\n0\r\nX: y\n\r\n",
    "a body that stops short": b"5\r\nhel",
}
ENDLESS = {
    "chunk extensions": CHUNKED + b"5;" + b"x" * 131_072,
    "trailers": CHUNKED + b"0\r\n" + b"X: y\r\n" * 32_768,
    "blank lines": b"\r\n" * 65_536,
    "a request line": b"GET /" + b"a" * 131_072,
    "a field": b"GET / HTTP/1.1\r\nX: " + b"a" * 131_072,
    "fields": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 32_768,
    "a method": b"G" * 131_072,
}


@pytest.mark.parametrize("payload", REFUSED.values(), ids=REFUSED)
def test_what_has_two_readings_is_refused_and_the_connection_ends(site, payload):
    (status,) = statuses(site.send(payload + HIDDEN))
    assert 400 <= status < 600
    assert site.recorder.requests == [] and site.recorder.strangers == []


@pytest.mark.parametrize("body", BROKEN_BODIES.values(), ids=BROKEN_BODIES)
def test_a_broken_body_ends_the_connection_and_is_never_completed_upstream(site, body):
    received = statuses(site.send(CHUNKED + body + HIDDEN))
    assert len(received) <= 1 and all(400 <= status < 600 for status in received)
    assert site.recorder.requests == [] and site.recorder.strangers == []


@pytest.mark.parametrize("payload", ENDLESS.values(), ids=ENDLESS)
def test_what_never_ends_is_ended_by_us(site, payload):
    received = statuses(site.send(payload, half_close=False))
    assert len(received) <= 1 and all(400 <= status < 600 for status in received)
    assert site.recorder.requests == []


def test_pipelined_requests_arrive_one_by_one_in_their_order(site):
    payload = b"".join(get(target=b"/%d" % number) for number in range(5))
    assert statuses(site.send(payload + get(b"Connection: close", target=b"/last"))) == [200] * 6
    assert [one.target for one in site.recorder.requests] == ["/0", "/1", "/2", "/3", "/4", "/last"]


def test_chunks_extensions_and_trailers_are_framed_anew(site):
    body = b"5;name=value\r\nhello\r\n1;x\r\n!\r\n0\r\nX-Trailer: t\r\n\r\n"
    assert statuses(site.send(CHUNKED + body)) == [200]
    (request,) = site.recorder.requests
    assert request.body == b"hello!"
    assert request.values("x-trailer") == []


def test_bytes_after_a_body_are_the_next_request(site):
    payload = post(b"Content-Length: 5", body=b"hello") + get(b"Connection: close", target=b"/next")
    assert statuses(site.send(payload)) == [200, 200]
    assert [(one.target, one.body) for one in site.recorder.requests] == [("/a", b"hello"), ("/next", b"")]


def test_a_request_of_http10_without_a_host_gets_its_upstream_s(site):
    """As from Caddy: RFC 9112 3.2 wants a Host of HTTP/1.1."""
    site.send(get(host=b"", version=b"1.0"))
    (request,) = site.recorder.requests
    assert request.values("host") == [f"127.0.0.1:{site.recorder.port}"]


def test_no_bytes_follow_an_upgrade_before_the_backend_agreed(site):
    """CVE-2026-2833: the backend of this site never agrees."""
    upgrade = get(b"Connection: Upgrade", b"Upgrade: websocket", target=b"/ws")
    site.send(upgrade + b"GET /hidden HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
    assert [one.target for one in site.recorder.requests] == ["/ws", "/hidden"]
    assert site.recorder.strangers == []
