"""An upstream that fails in mid-answer is a line of `http.handlers.reverse_proxy`, as of stock Caddy."""

import contextlib
import http.client
import json
import socket
import struct
import threading

import pytest
from logged import await_lines
from ports import free_port
from starting import side_by_side
from threads import Listener

PATIENCE_S = 60
SITE = """{
	admin off
	auto_https off
}
http://127.0.0.1:{$PORT} {
	log {
		output file {$FOLDER}/access.log
	}
	handle_path /rewritten/* {
		reverse_proxy {$BACKEND} {
			rewrite /chunks{uri}
			header_up X-Added {method}
			header_up -X-Dropped
			header_up Host up.example
		}
	}
	handle /frames {
		reverse_proxy h2c://{$FRAMES}
	}
	handle {
		reverse_proxy {$BACKEND}
	}
}
"""
CHUNKS = b"HTTP/1.1 200 OK\r\nX-Up: 1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"
WHOLE = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"
SETTINGS, INTERNAL_ERROR = b"\0\0\0\4\0\0\0\0\0", b"\0\0\0\2"
FRAMES = (
    SETTINGS
    # :status 200, then a piece of its body.
    + b"\0\0\1\1\4\0\0\0\1\x88"
    + b"\0\0\5\0\0\0\0\0\1hello"
)
RESET_STREAM = b"\0\0\4\3\0\0\0\0\1" + INTERNAL_ERROR
UNTOLD = {"Via", "User-Agent", "Accept-Encoding", "X-Forwarded-Host"}
"""Fields of the request to the upstream that Caddy alone adds, or that name the server's port."""
UNLOGGED = {"Via", "Server", "Date"}
REQUESTS = {
    "/chunks": "reading: unexpected EOF",
    "/length": "reading: unexpected EOF",
    "/rewritten/a": "reading: unexpected EOF",
    "/reset": "reading: ",
    "/frames": "reading: ",
}


def begin(serve):
    """Return what takes a connection and serves it in a thread."""

    def run(connection):
        with connection, contextlib.suppress(OSError):
            connection.settimeout(PATIENCE_S)
            serve(connection)

    return lambda connection: threading.Thread(target=run, args=(connection,), daemon=True).start()


def cut_answer(connection):
    """Answer in part, and end the connection."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    target = head.split(b" ")[1]
    connection.sendall({b"/length": LENGTH, b"/whole": WHOLE}.get(target, CHUNKS))
    if target == b"/reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def cut_stream(connection):
    received = b""
    # The client's HEADERS, of stream 1, that end it.
    while b"\1\5\0\0\0\1" not in received:
        received += connection.recv(65536)
    connection.sendall(FRAMES + RESET_STREAM)
    while connection.recv(65536):
        pass


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        backend, frames = (
            stack.enter_context(contextlib.closing(Listener(begin(one)))) for one in (cut_answer, cut_stream)
        )

        def make_values(folder):
            ports = {"BACKEND": f"127.0.0.1:{backend.port}", "FRAMES": f"127.0.0.1:{frames.port}"}
            return ports | {"PORT": free_port(), "FOLDER": folder}

        yield stack.enter_context(side_by_side(tmp_path_factory, SITE, make_values, ["PORT"]))


def ask(port, target):
    """Return the status, and whether the answer was whole."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("GET", target, headers={"X-Kept": "a", "X-Dropped": "b", "Cookie": "secret"})
        try:
            answer = connection.getresponse()
            answer.read()
        except (http.client.IncompleteRead, ConnectionError):
            return False
        return True


def is_of_the_proxy(line):
    return line.get("logger") == "http.handlers.reverse_proxy"


def tell(line):
    """Return a line without what differs by run."""
    assert line.pop("ts") > 0
    assert line.pop("duration") >= 0
    assert line["request"].pop("remote_port")
    fields = line["request"]["headers"]
    line["request"]["headers"] = {name: fields[name] for name in sorted(fields) if name not in UNTOLD}
    known = REQUESTS.get(line["request"]["uri"], "reading: unexpected EOF")
    assert line["error"].startswith(known)
    line["error"] = known
    line["request"]["host"] = line["request"]["host"].partition(":")[0]
    return json.dumps(line)


def test_each_is_a_line_as_caddys(served):
    told = []
    for values in served:
        whole = [ask(values["PORT"], target) for target in (*REQUESTS, "/whole")]
        assert whole == [False] * len(REQUESTS) + [True]
        lines = await_lines(values["FOLDER"] / "log", is_of_the_proxy, len(REQUESTS))
        told.append([tell(line) for line in lines])
    assert told[1] == told[0]
    assert len(told[1]) == len(REQUESTS)


def test_the_access_log_has_all_fields_of_an_answer_that_was_cut(served):
    told = []
    for values in served:
        assert not ask(values["PORT"], "/chunks?logged")
        log = values["FOLDER"] / "access.log"
        (line,) = await_lines(log, lambda line: line["request"]["uri"] == "/chunks?logged")
        fields = line["resp_headers"].items()
        told.append({name: value for name, value in fields if name not in UNLOGGED})
    assert told[1] == told[0] == {"X-Up": ["1"]}
