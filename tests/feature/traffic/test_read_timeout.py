"""`read_timeout` is the limit between two pieces of an answer, also behind a pause that the client made."""

import contextlib
import http.client

import pytest
from threads import Listener

PATIENCE_S = 50
"""Shorter than the limit of upstreams that have none written."""
BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n" + bytes(2000)


@pytest.fixture(scope="module")
def silent():
    """The port of an upstream that sends half of its answer."""
    held = []

    def begin(connection):
        held.append(connection)
        connection.recv(65536)
        connection.sendall(BEGUN)

    with contextlib.closing(Listener(begin)) as listener:
        yield listener.port
    for connection in held:
        connection.close()


@pytest.mark.parametrize("pause", ["", "bandwidth 1KiB"], ids=["at once", "after a pause"])
def test_an_upstream_that_falls_silent_is_left_in_time(serve, silent, pause):
    node = serve(
        f"""http://:PORT {{
	{pause}
	reverse_proxy 127.0.0.1:{silent} {{
		transport http {{
			read_timeout 1s
		}}
	}}
}}
"""
    )
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        answer = connection.getresponse()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
