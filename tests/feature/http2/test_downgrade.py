"""HTTP/2 to HTTP/1.1: what is malformed (RFC 9113 8) reaches no backend, in no shape."""

import contextlib

import pytest
from framing import DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, WHOLE, frame, literal
from ports import free_port
from recording import Recorder
from signing import write_self_signed
from starting import serving

SITE = """{{
	admin off
	auto_https off
}}
https://localhost:{port} {{
	tls tls.crt tls.key
	reverse_proxy 127.0.0.1:{backend}
}}
"""
METHOD, SCHEME, PATH = (b":method", b"POST"), (b":scheme", b"https"), (b":path", b"/a")
AUTHORITY = (b":authority", b"localhost")
GOOD = (METHOD, SCHEME, PATH, AUTHORITY)
SMUGGLED = b"x\r\n\r\nGET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"


def with_field(name, value=b"v"):
    return (*GOOD, (name, value))


def with_pseudo(name, value):
    return tuple((key, value if key == name else old) for key, old in GOOD)


def without(name):
    return tuple(field for field in GOOD if field[0] != name)


HEADS = {
    "no method": without(b":method"),
    "no scheme": without(b":scheme"),
    "no path": without(b":path"),
    "no authority": without(b":authority"),
    "an empty authority": with_pseudo(b":authority", b""),
    "an empty method": with_pseudo(b":method", b""),
    "an empty path": with_pseudo(b":path", b""),
    "a method with a space": with_pseudo(b":method", b"GET /hidden HTTP/1.1"),
    "a method with a request behind it": with_pseudo(b":method", SMUGGLED),
    "a method that is two": with_pseudo(b":method", b"GET,POST"),
    "CONNECT with a path": with_pseudo(b":method", b"CONNECT"),
    "a path without a slash": with_pseudo(b":path", b"a"),
    "a path with a space": with_pseudo(b":path", b"/a HTTP/1.1"),
    "a path with a request behind it": with_pseudo(b":path", b"/" + SMUGGLED),
    "a path with a line feed": with_pseudo(b":path", b"/a\nx"),
    "a path with NUL": with_pseudo(b":path", b"/a\0"),
    "a path with a byte above 127": with_pseudo(b":path", b"/\xe9"),
    "a path that is a URL": with_pseudo(b":path", b"http://localhost/a"),
    "a scheme with a request behind it": with_pseudo(b":scheme", SMUGGLED),
    "another scheme": with_pseudo(b":scheme", b"ftp"),
    "an authority with a request behind it": with_pseudo(b":authority", SMUGGLED),
    "an authority with a user": with_pseudo(b":authority", b"me@localhost"),
    "an authority with a path": with_pseudo(b":authority", b"localhost/a"),
    "an authority with a space": with_pseudo(b":authority", b"localhost a"),
    "two methods": (METHOD, *GOOD),
    "two paths": (PATH, *GOOD),
    "two schemes": (SCHEME, *GOOD),
    "two authorities": (AUTHORITY, *GOOD),
    "an unknown pseudo field": with_field(b":name"),
    "a pseudo field of answers": with_field(b":status", b"200"),
    "a pseudo field behind a field": (METHOD, SCHEME, (b"x", b"v"), PATH, AUTHORITY),
    ":protocol without CONNECT": with_field(b":protocol", b"websocket"),
    "Host beside another authority": with_field(b"host", b"other"),
    "two Host fields": (*without(b":authority"), (b"host", b"localhost"), (b"host", b"localhost")),
    "a name in capitals": with_field(b"X-Name"),
    "an empty name": with_field(b""),
    "a name with a space": with_field(b"x name"),
    "a name with a colon": with_field(b"x:name"),
    "a name that ends by a colon": with_field(b"transfer-encoding:", b"chunked"),
    "a name with a line behind it": with_field(b"x: v\r\ntransfer-encoding", b"chunked"),
    "a name with a line feed": with_field(b"x\ny"),
    "a name with NUL": with_field(b"x\0"),
    "a name with DEL": with_field(b"x\x7f"),
    "a name with a byte above 127": with_field(b"x\xe9"),
    "a value with a request behind it": with_field(b"x", SMUGGLED),
    "a value with a line behind it": with_field(b"x", b"v\r\ntransfer-encoding: chunked"),
    "a value with a line feed": with_field(b"x", b"v\nw"),
    "a value with a carriage return": with_field(b"x", b"v\rw"),
    "a value with NUL": with_field(b"x", b"v\0w"),
    "a value with a bell": with_field(b"x", b"v\x07w"),
    "a value with a space in front": with_field(b"x", b" v"),
    "a value with a tab behind": with_field(b"x", b"v\t"),
    "a crumb with a line behind it": with_field(b"cookie", b"a=b\r\nx: y"),
    "connection": with_field(b"connection", b"close"),
    "keep-alive": with_field(b"keep-alive", b"timeout=5"),
    "proxy-connection": with_field(b"proxy-connection", b"close"),
    "transfer-encoding": with_field(b"transfer-encoding", b"chunked"),
    "upgrade": with_field(b"upgrade", b"h2c"),
    "te with more than trailers": with_field(b"te", b"trailers, deflate"),
    "two lengths": (*GOOD, (b"content-length", b"5"), (b"content-length", b"5")),
    "a list of lengths": with_field(b"content-length", b"5, 5"),
    "a signed length": with_field(b"content-length", b"+5"),
    "a negative length": with_field(b"content-length", b"-1"),
    "a length in hexadecimal": with_field(b"content-length", b"0x5"),
    "an empty length": with_field(b"content-length", b""),
    "a length past 64 bits": with_field(b"content-length", b"18446744073709551621"),
    "a length without a body": with_field(b"content-length", b"5"),
}
LENGTH = literal(b"content-length", b"5")
HEAD = b"".join(literal(*field) for field in GOOD)
ENDINGS = {
    "more than the length": (LENGTH, frame(DATA, END_STREAM, 1, b"hello" + SMUGGLED)),
    "more than the length, in pieces": (
        LENGTH,
        frame(DATA, 0, 1, b"hello") + frame(DATA, END_STREAM, 1, b"!"),
    ),
    "less than the length": (LENGTH, frame(DATA, END_STREAM, 1, b"hell")),
    "less than the length before trailers": (
        LENGTH,
        frame(DATA, 0, 1, b"hell") + frame(HEADERS, WHOLE, 1, literal(b"x", b"v")),
    ),
    "pseudo fields as trailers": (
        LENGTH,
        frame(DATA, 0, 1, b"hello") + frame(HEADERS, WHOLE, 1, literal(*PATH)),
    ),
    "trailers with a line behind": (
        b"",
        frame(DATA, 0, 1, b"hello") + frame(HEADERS, WHOLE, 1, literal(b"x", b"v\r\ny: z")),
    ),
    "trailers in capitals": (
        b"",
        frame(DATA, 0, 1, b"hello") + frame(HEADERS, WHOLE, 1, literal(b"X", b"v")),
    ),
    "trailers that end nothing": (
        b"",
        frame(DATA, 0, 1, b"hello") + frame(HEADERS, END_HEADERS, 1, literal(b"x", b"v")),
    ),
    "a length of 0 with a body": (literal(b"content-length", b"0"), frame(DATA, END_STREAM, 1, b"hello")),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("downgrade")
    write_self_signed(folder, "localhost", "127.0.0.1")
    recorder, port = Recorder(), free_port()
    (folder / "Caddyfile").write_text(SITE.format(port=port, backend=recorder.port))
    with contextlib.closing(recorder), serving(folder, port):
        yield port, recorder


def end_of(client, stream):
    """How a stream ends: its reset, or the first bytes of an answer's head; None: the connection does."""
    while found := client.read():
        kind, _, number, payload = found
        if number == stream and kind in (HEADERS, RST_STREAM):
            return kind, payload
    return None


def is_refused(end):
    """A reset, the connection's end, or a status from 400 on (static index 12 to 14, or a literal)."""
    if end is None or end[0] == RST_STREAM:
        return True
    return end[1][:1] in (b"\x8c", b"\x8d", b"\x8e") or end[1][:3] in (b"\x08\x034", b"\x08\x035")


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_malformed_head_reaches_no_backend(client, recorder, head):
    client.send(frame(HEADERS, WHOLE, 1, b"".join(literal(*field) for field in head)))
    assert is_refused(end_of(client, 1))
    assert recorder.requests == [] and recorder.strangers == []


@pytest.mark.parametrize(("fields", "rest"), ENDINGS.values(), ids=ENDINGS)
def test_a_malformed_end_is_never_a_whole_request(client, recorder, fields, rest):
    client.send(frame(HEADERS, END_HEADERS, 1, HEAD + fields) + rest)
    assert is_refused(end_of(client, 1))
    assert recorder.requests == [] and recorder.strangers == []


def test_what_is_well_formed_arrives_as_one_request(client, recorder):
    crumbs = literal(b"cookie", b"a=b") + literal(b"cookie", b"c=d")
    client.send(frame(HEADERS, END_HEADERS, 1, HEAD + crumbs + LENGTH))
    client.send(frame(DATA, END_STREAM, 1, b"hello"))
    assert end_of(client, 1) is not None
    (request,) = recorder.requests
    assert (request.line, request.body) == ("POST /a HTTP/1.1", b"hello")
    assert request.values("cookie") == ["a=b; c=d"]
    assert request.values("content-length") == ["5"]


def test_trailers_of_a_request_stay_here(client, recorder):
    client.send(frame(HEADERS, END_HEADERS, 1, HEAD), frame(DATA, 0, 1, b"hello"))
    client.send(frame(HEADERS, WHOLE, 1, literal(b"x-trailer", b"v")))
    assert end_of(client, 1) is not None
    (request,) = recorder.requests
    assert request.body == b"hello" and request.values("x-trailer") == []
