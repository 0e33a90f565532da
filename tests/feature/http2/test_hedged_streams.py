"""`hedge` between upstreams that speak HTTP/2: the stream that lost is reset, its connection serves on."""

import http.client
from concurrent.futures import ThreadPoolExecutor

import pytest
from ports import free_port
from starting import serving
from stream_backends import CANCEL, StreamBackend

TIMEOUT_S = 60
SITE = """{{
	auto_https off
	admin off
}}
http://:{port} {{
	bind 127.0.0.1
	reverse_proxy h2c://127.0.0.1:{first} h2c://127.0.0.1:{second} {{
		lb_policy first
		hedge 30ms
	}}
}}
"""


@pytest.fixture
def upstreams():
    started = [StreamBackend(100, None) for _ in range(2)]
    yield started
    for backend in started:
        backend.release.set()
        backend.close()


@pytest.fixture
def port(tmp_path, upstreams):
    chosen = free_port()
    first, second = (backend.port for backend in upstreams)
    (tmp_path / "Caddyfile").write_text(SITE.format(port=chosen, first=first, second=second))
    with serving(tmp_path, chosen):
        yield chosen


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    connection.request("GET", path)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_the_first_stream_is_reset_where_the_second_answers(port, upstreams):
    first, second = upstreams
    second.release.set()
    assert get(port, "/held") == (200, b"ok")
    first.wait(lambda backend: backend.connections and backend.connections[0].resets)
    assert list(first.connections[0].resets.values()) == [CANCEL]
    assert get(port, "/ok") == (200, b"ok")
    # Where the machine stands still the second one may be asked, too, and answer first.
    first.wait(lambda backend: backend.connections[0].opened == 2)
    assert len(first.connections) == len(second.connections) == 1


def test_the_second_stream_is_reset_where_the_first_answers_after_all(port, upstreams):
    first, second = upstreams
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(get, port, "/held")
        second.wait(lambda backend: backend.total() == 1)
        first.release.set()
        assert asked.result(TIMEOUT_S) == (200, b"ok")
    second.wait(lambda backend: backend.connections[0].resets)
    assert list(second.connections[0].resets.values()) == [CANCEL]
