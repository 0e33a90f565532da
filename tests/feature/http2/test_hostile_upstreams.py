"""An HTTP/2 upstream can break its own answer only: 502 or a cut one, and the next answer is whole."""

import contextlib
import socket
import struct
import threading

import pytest
from framing import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    PUSH,
    RST_STREAM,
    SETTINGS,
    WHOLE,
    WINDOW_UPDATE,
    frame,
    literal,
)
from ports import free_port
from starting import serving
from threads import Listener

TIMEOUT_S = 60
SITE = """{{
	admin off
	auto_https off
}}
http://:{port} {{
	reverse_proxy h2c://127.0.0.1:{backend}
}}
"""


def head(*fields, status=b"200", flags=END_HEADERS):
    block = literal(b":status", status) + b"".join(literal(*field) for field in fields)
    return lambda stream: frame(HEADERS, flags, stream, block)


def data(payload, flags=END_STREAM):
    return lambda stream: frame(DATA, flags, stream, payload)


def of_connection(kind, payload, flags=0):
    return lambda _: frame(kind, flags, 0, payload)


def of_stream(kind, payload, flags=0):
    return lambda stream: frame(kind, flags, stream, payload)


FINE = (head((b"content-length", b"4")), data(b"fine"))
MANY = 3_000
REFUSED = {
    "no status": (of_stream(HEADERS, literal(b"x", b"v"), WHOLE),),
    "two statuses": (head((b":status", b"200"), flags=WHOLE),),
    "a switch": (head(status=b"101"),),
    **{
        f"status {text!r}": (head(status=text, flags=WHOLE),)
        for text in (b"", b"20", b"2000", b"099", b"+20")
    },
    "a name in capitals": (head((b"X", b"v"), flags=WHOLE),),
    **{
        f"the field {name!r}": (head((name, b"v"), flags=WHOLE),)
        for name in (
            b"connection",
            b"transfer-encoding",
            b"upgrade",
            b":path",
            b"x y",
            b"x:y",
            b"",
            b"x\r\ny",
        )
    },
    **{
        f"the value {value!r}": (head((b"x", value), flags=WHOLE),)
        for value in (b"v\r\ny: z", b"v\0", b"v\nw", b" v", b"\x07")
    },
    "two lengths": (head((b"content-length", b"4"), (b"content-length", b"5")), data(b"stolen")),
    "a signed length": (head((b"content-length", b"+6")), data(b"stolen")),
    "a length without a body": (head((b"content-length", b"6"), flags=WHOLE),),
    "a body without a head": (data(b"stolen"),),
    "an interim answer that ends": (head(status=b"103", flags=WHOLE),),
    "a body behind an interim answer": (head(status=b"103"), data(b"stolen")),
    "interim answers without end": (head(status=b"103"),) * 3000,
    "a promise": (of_stream(PUSH, b"\0\0\0\2" + literal(b":method", b"GET"), END_HEADERS), *FINE),
    "a stream that nobody opened": (lambda stream: frame(HEADERS, WHOLE, stream + 2, b"\x88"), *FINE),
    "a stream of its own": (lambda _: frame(HEADERS, WHOLE, 2, b"\x88"), *FINE),
    "a window too large": (of_connection(WINDOW_UPDATE, b"\x7f\xff\xff\xff"),) * 2,
    "a block that is none": (of_stream(HEADERS, b"\xff\xff\xff\xff\xff\xff", WHOLE),),
    "fields without end": (head(*((b"x%d" % number, b"v") for number in range(1_000)), flags=WHOLE),),
    "pieces without end": (head(flags=0), *(of_stream(CONTINUATION, b""),) * MANY),
    "SETTINGS without end": (of_connection(SETTINGS, b""),) * MANY,
    "PING without end": (of_connection(PING, b"12345678"),) * MANY,
    "promises allowed": (of_connection(SETTINGS, b"\0\2\0\0\0\1"), *FINE),
    "HTTP/1.1": (lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen",),
    "a reset": (of_stream(RST_STREAM, b"\0\0\0\x02"),),
}
CUT = {
    "more than the length": (head((b"content-length", b"2")), data(b"fine")),
    "less than the length": (head((b"content-length", b"9")), data(b"fine")),
    "pseudo fields as trailers": (head(), data(b"fine", 0), head(flags=WHOLE)),
    "trailers that end nothing": (
        head(),
        data(b"fine", 0),
        of_stream(HEADERS, literal(b"x", b"v"), END_HEADERS),
    ),
    "a second answer": (head(), head(), data(b"fine")),
    "a frame too large": (head(), data(b"x" * 20_000)),
    "a reset in the middle": (head(), data(b"fi", 0), of_stream(RST_STREAM, b"\0\0\0\x02")),
    "nothing without end": (head(), *(data(b"", 0),) * MANY, data(b"fine")),
}
ENDINGS = {
    "an empty frame": data(b""),
    "a body": data(b"stolen"),
    "trailers": of_stream(HEADERS, literal(b"x", b"v"), WHOLE),
}


class Upstream:
    """Speaks HTTP/2 from the first byte; what it answers to the next request is laid ready, in frames."""

    def __init__(self):
        self.answers = []
        self.listener = Listener(self._begin)
        self.port = self.listener.port

    def _begin(self, connection):
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rb") as reader, contextlib.suppress(OSError):
            reader.read(len(PREFACE))
            connection.sendall(frame(SETTINGS, 0, 0))
            while len(start := reader.read(9)) == 9:
                kind, flags, stream = struct.unpack(">BBI", start[3:])
                reader.read(int.from_bytes(start[:3]))
                if kind == SETTINGS and not flags & ACK:
                    connection.sendall(frame(SETTINGS, ACK, 0))
                if kind == HEADERS:
                    parts = self.answers.pop(0) if self.answers else FINE
                    connection.sendall(b"".join(part(stream) for part in parts))


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("upstream")
    upstream, port = Upstream(), free_port()
    (folder / "Caddyfile").write_text(SITE.format(port=port, backend=upstream.port))
    with contextlib.closing(upstream.listener), serving(folder, port):
        yield upstream, port


@pytest.fixture
def ask(running):
    """Sends a request and one more behind it; returns all that comes."""
    upstream, port = running

    def send(answer, method="GET"):
        upstream.answers[:] = [answer]
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as client:
            first = f"{method} /bad HTTP/1.1\r\nHost: a.example\r\n\r\n"
            client.sendall(
                f"{first}GET /good HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n".encode()
            )
            received = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := client.recv(65536):
                    received += piece
        return received

    yield send
    upstream.answers.clear()
    assert send(FINE).count(b"fine") == 2


def statuses(received):
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("answer", REFUSED.values(), ids=REFUSED)
def test_an_answer_that_breaks_the_rules_is_502(ask, answer):
    received = ask(answer)
    assert [status for status in statuses(received) if status >= 200] == [502, 200]
    assert b"stolen" not in received and received.endswith(b"fine")


@pytest.mark.parametrize("answer", CUT.values(), ids=CUT)
def test_a_cut_answer_is_never_ended_cleanly(ask, answer):
    received = ask(answer)
    if statuses(received)[:1] == [502]:
        assert received.endswith(b"fine")
    else:
        assert b"\r\n0\r\n\r\n" not in received and b"/good" not in received


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("status", [b"204", b"304"])
def test_what_has_no_body_has_no_end_of_one_either(ask, status, ending):
    received = ask((head(status=status), ending))
    first, second, last = received.split(b"\r\n\r\n")
    assert statuses(received) == [int(status), 200]
    assert b"Transfer-Encoding" not in first
    assert second.startswith(b"HTTP/1.1 200 ") and last == b"fine"


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_an_answer_to_head_has_no_body_whatever_comes(ask, ending):
    first, second, last = ask((head(), ending), "HEAD").split(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 ") and second.startswith(b"HTTP/1.1 200 ") and last == b"fine"
