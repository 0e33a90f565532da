"""WebSockets of HTTP/2 clients (RFC 8441) as no browser asks for them: each ends alone and reaches nobody."""

import contextlib
import socket

import pytest
from framing import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    WHOLE,
    WINDOW_UPDATE,
    Client,
    frame,
    get,
    literal,
)
from ports import free_port
from recording import Recorder
from signing import write_self_signed
from sizing import memory_kib
from starting import serving

TIMEOUT_S = 60
CADDYFILE = """{{
	admin off
	auto_https off
}}
https://localhost:{port} {{
	tls tls.crt tls.key
	handle /static {{
		respond "hello"
	}}
	handle /played* {{
		reverse_proxy 127.0.0.1:{played}
	}}
	reverse_proxy 127.0.0.1:{recorded}
}}
"""
SWITCHES = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: x\r\n\r\n"
)
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, ENHANCE_YOUR_CALM = 1, 3, 5, 11
# A ping of RFC 6455 5.5.2 with a mask and four bytes.
WEBSOCKET_PING = b"\x89\x84maskping"
METHOD, PROTOCOL, SCHEME = (b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"https")
AUTHORITY = (b":authority", b"localhost")
VERSION = (b"sec-websocket-version", b"13")


def good(path=b"/a"):
    return (METHOD, PROTOCOL, SCHEME, (b":path", path), AUTHORITY, VERSION)


def with_field(name, value):
    return (*good(), (name, value))


def with_pseudo(name, value):
    return tuple((key, value if key == name else old) for key, old in good())


def without(name):
    return tuple(field for field in good() if field[0] != name)


def connect(stream=1, fields=None, flags=END_HEADERS):
    return frame(HEADERS, flags, stream, b"".join(literal(*field) for field in fields or good()))


MALFORMED = {
    "no path": without(b":path"),
    "no scheme": without(b":scheme"),
    "the scheme of WebSockets": with_pseudo(b":scheme", b"wss"),
    "a path without a slash": with_pseudo(b":path", b"a"),
    "two protocols": (PROTOCOL, *good()),
    "a protocol behind a field": (*without(b":protocol"), PROTOCOL),
    "a protocol with a line behind it": with_pseudo(b":protocol", b"websocket\r\nx: y"),
    "GET with a protocol": with_pseudo(b":method", b"GET"),
    "POST with a protocol": with_pseudo(b":method", b"POST"),
    "an upgrade": with_field(b"upgrade", b"websocket"),
    "a connection": with_field(b"connection", b"upgrade"),
    "a coding": with_field(b"transfer-encoding", b"chunked"),
    "a length": with_field(b"content-length", b"5"),
    "a length of 0": with_field(b"content-length", b"0"),
}
OTHER_PROTOCOLS = (b"h2c", b"connect-udp", b"connect-ip", b"websocket2", b"websocket, h2c", b"HTTP/1.1", b"")
ANSWERS = {
    "200": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine",
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "404": b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone",
    "426": b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
    "a hint and 404": b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "a switch without a protocol": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
    "a switch to another protocol": SWITCHES.replace(b"websocket", b"h2c"),
    "a switch without Connection": SWITCHES.replace(b"Connection: Upgrade\r\n", b""),
    "a switch with a body": SWITCHES.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhello"),
}


class Played:
    """A listener whose connections a test plays itself."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.listener.settimeout(TIMEOUT_S)
        self.port = self.listener.getsockname()[1]

    @contextlib.contextmanager
    def taken(self, answer=SWITCHES):
        """The next connection, after its request's head was read and answered."""
        connection, _ = self.listener.accept()
        connection.settimeout(TIMEOUT_S)
        with connection:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += connection.recv(1)
            assert head.startswith(b"GET /played") and b"upgrade: websocket\r\n" in head.lower()
            connection.sendall(answer)
            yield connection


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("attacks"), free_port()
    write_self_signed(folder, "localhost", "127.0.0.1")
    recorder, played = Recorder(), Played()
    text = CADDYFILE.format(port=port, played=played.port, recorded=recorder.port)
    (folder / "Caddyfile").write_text(text)
    with (
        contextlib.closing(recorder),
        contextlib.closing(played.listener),
        serving(folder, port) as process,
    ):
        yield port, recorder, played, process.pid


@pytest.fixture
def played(running):
    return running[2]


def end_of(client, stream=1):
    """How a stream ends: the code of its reset, or None where an answer ended it; and all its DATA."""
    data = b""
    while found := client.read():
        kind, flags, number, payload = found
        assert kind != GOAWAY, payload
        if number != stream:
            continue
        if kind == RST_STREAM:
            return int.from_bytes(payload), data
        data += payload if kind == DATA else b""
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            return None, data
    raise AssertionError("the connection ended")


def status_of(client, stream=1):
    """The final status of an answer (RFC 7541: by index, or as text)."""
    indexed = {0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500}
    while True:
        _, head = client.read_until(HEADERS, stream)
        status = indexed.get(head[0]) or int(head[2:5])
        if status >= 200:
            return status


def assert_serves(client, stream=99):
    """Another request of the same connection is answered."""
    client.send(frame(HEADERS, WHOLE, stream, get("/static")))
    assert client.read_until(DATA, stream)[1] == b"hello"


def opened(client, played, stream=1):
    """A tunnel through both: to be entered for the upstream's end of it."""
    client.send(connect(stream, good(b"/played")))
    return played.taken()


def take(upstream, count):
    """So many bytes, or all that come before the end."""
    with upstream.makefile("rb") as reader:
        return reader.read(count)


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_one_is_reset_and_reaches_no_backend(client, recorder, fields):
    client.send(connect(fields=fields))
    assert end_of(client)[0] == PROTOCOL_ERROR
    assert_serves(client)
    assert recorder.requests == [] and recorder.strangers == []


def test_one_for_no_host_is_400_and_reaches_no_backend(client, recorder):
    client.send(connect(fields=without(b":authority")))
    assert status_of(client) == 400
    assert_serves(client)
    assert recorder.requests == []


@pytest.mark.parametrize("protocol", OTHER_PROTOCOLS)
def test_another_protocol_is_501_and_reaches_no_backend(client, recorder, protocol):
    client.send(connect(fields=with_pseudo(b":protocol", protocol)))
    assert status_of(client) == 501
    assert_serves(client)
    assert recorder.requests == [] and recorder.strangers == []


def test_one_that_has_ended_is_501_and_reaches_no_backend(client, recorder):
    client.send(connect(flags=WHOLE))
    assert status_of(client) == 501
    assert_serves(client)
    assert recorder.requests == []


def test_a_key_of_the_client_s_is_not_passed_on_beside_ours(client, recorder):
    client.send(connect(fields=with_field(b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")))
    status_of(client)
    (request,) = recorder.requests
    (key,) = request.values("sec-websocket-key")
    assert key != "dGhlIHNhbXBsZSBub25jZQ=="


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_what_comes_before_an_upstream_agreed_never_goes_up(client, recorder, answer):
    """CVE-2026-2833: neither before the answer, nor on a connection that is used again."""
    recorder.answers["/a"] = answer
    client.send(connect(), frame(DATA, 0, 1, HIDDEN))
    assert status_of(client) >= 400
    client.send(frame(DATA, 0, 1, HIDDEN), frame(HEADERS, WHOLE, 3, get("/next")))
    assert status_of(client, 3) == 200
    assert [one.target for one in recorder.requests] == ["/a", "/next"]
    assert recorder.strangers == []


def test_an_answer_that_is_no_switch_arrives_whole(client, recorder):
    recorder.answers["/a"] = ANSWERS["404"]
    client.send(connect())
    assert status_of(client) == 404
    assert end_of(client) == (None, b"gone")


def test_what_came_too_early_goes_up_once_the_upstream_agreed(client, played):
    client.send(connect(1, good(b"/played")), frame(DATA, 0, 1, b"early"))
    with played.taken(SWITCHES + b"first") as upstream:
        assert take(upstream, 5) == b"early"
        assert status_of(client) == 200
        assert client.read_until(DATA, 1)[1] == b"first"


@pytest.mark.parametrize("flags", [END_HEADERS, WHOLE], ids=["open", "ending"])
def test_fields_on_an_open_one_reset_it(client, played, flags):
    """RFC 9113 8.5: a connected stream has DATA alone."""
    with opened(client, played) as upstream:
        assert status_of(client) == 200
        client.send(frame(HEADERS, flags, 1, literal(b"x-trailer", b"v")))
        assert end_of(client)[0] == PROTOCOL_ERROR
        assert upstream.recv(16) == b""
    assert_serves(client)


def test_a_client_that_ends_its_side_hears_the_rest(client, played):
    with opened(client, played) as upstream:
        client.send(frame(DATA, 0, 1, b"last"), frame(DATA, END_STREAM, 1))
        assert take(upstream, 4) == b"last"
        upstream.sendall(b"rest")
    assert status_of(client) == 200
    assert end_of(client) == (None, b"rest")
    assert_serves(client)


def test_data_after_the_client_s_end_reset_it(client, played):
    with opened(client, played) as upstream:
        client.send(frame(DATA, END_STREAM, 1, b"last"), frame(DATA, 0, 1, b"more"))
        assert end_of(client)[0] == STREAM_CLOSED
        assert take(upstream, 4) in (b"last", b"")
    assert_serves(client)


def test_a_reset_of_the_client_ends_its_upstream(client, played):
    with opened(client, played) as upstream:
        assert status_of(client) == 200
        client.send(frame(RST_STREAM, 0, 1, b"\0\0\0\x08"))
        with contextlib.suppress(ConnectionResetError):
            assert upstream.recv(16) == b""
    assert_serves(client)


def test_a_reset_of_the_upstream_resets_its_stream_alone(client, played):
    with opened(client, played, 1) as first, opened(client, played, 3) as second:
        assert (status_of(client, 1), status_of(client, 3)) == (200, 200)
        first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        first.close()
        assert end_of(client, 1)[0] is not None
        second.sendall(b"still here")
        assert client.read_until(DATA, 3)[1] == b"still here"


def test_pings_through_one_all_arrive(client, played):
    """What passes unread is no frame that only costs."""
    with opened(client, played) as upstream:
        for _ in range(5_000):
            client.send(frame(DATA, 0, 1, WEBSOCKET_PING))
        received = take(upstream, 5_000 * len(WEBSOCKET_PING))
        assert received == WEBSOCKET_PING * 5_000
    assert status_of(client) == 200


def test_empty_pieces_without_end_end_the_connection(client, played):
    with opened(client, played) as upstream:
        assert status_of(client) == 200
        for _ in range(2_000):
            if not client.send(frame(DATA, 0, 1)):
                break
        assert client.read_end() in (ENHANCE_YOUR_CALM, None)
        assert upstream.recv(16) == b""


def test_an_upstream_that_takes_nothing_is_sent_no_more_than_windows_allow(running, client, played):
    with opened(client, played):
        assert status_of(client) == 200
        before = memory_kib(running[3])
        for room in rooms(client):
            client.send(*(frame(DATA, 0, 1, bytes(min(room - at, 16_384))) for at in range(0, room, 16_384)))
        assert memory_kib(running[3]) - before < 16 << 10
        # Once more than the window: the stream ends, nobody else does.
        client.send(frame(DATA, 0, 1, bytes(16_384)) * 5)
        assert end_of(client)[0] == FLOW_CONTROL_ERROR
    assert_serves(client)


def rooms(client):
    """What its stream may be sent, again once that was used up: its window, then what three PINGs bring."""
    room = 65_535
    while room:
        yield room
        room = 0
        for _ in range(3):
            client.send(frame(PING, 0, 0, b"12345678"))
            while (found := client.read()) and found[0] != PING:
                if found[0] == WINDOW_UPDATE and found[2] == 1:
                    room += int.from_bytes(found[3])


def test_upstreams_that_flood_clients_who_take_nothing_hold_little(running, played):
    """100 WebSockets with windows of 0."""
    before = memory_kib(running[3])
    client = Client(running[0], b"\0\4\0\0\0\0")
    with contextlib.closing(client.socket), contextlib.ExitStack() as stack:
        upstreams = []
        for number in range(100):
            upstreams.append(stack.enter_context(opened(client, played, 2 * number + 1)))
            assert status_of(client, 2 * number + 1) == 200
        for upstream in upstreams:
            upstream.setblocking(False)
        for _ in range(20):
            for upstream in upstreams:
                with contextlib.suppress(BlockingIOError):
                    upstream.send(bytes(1 << 20))
            client.send(frame(PING, 0, 0, b"12345678"))
            client.read_until(PING, 0)
        assert memory_kib(running[3]) - before < 16 << 10
        assert_serves_with_window(client)


def assert_serves_with_window(client):
    client.send(frame(RST_STREAM, 0, 1, b"\0\0\0\x08"), frame(HEADERS, WHOLE, 301, get("/static")))
    client.send(frame(WINDOW_UPDATE, 0, 301, b"\0\0\1\0"))
    assert client.read_until(DATA, 301)[1] == b"hello"
