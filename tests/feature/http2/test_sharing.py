"""Requests of many clients share connections to an upstream that speaks HTTP/2."""

import socket

import pytest
from framing import DATA, END_HEADERS, HEADERS, RST_STREAM, Client, frame, get, post
from stream_backends import CANCEL, HUGE_BYTES
from stream_sites import served

STREAMS_MAX = 100


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with served(tmp_path_factory.mktemp("sharing")) as site:
        yield site


@pytest.fixture
def site(running):
    yield running
    running.backend.restart()


def test_a_hundred_clients_share_one_connection(site):
    with site.held(STREAMS_MAX):
        assert site.backend.counts() == [STREAMS_MAX]


def test_one_more_than_a_connection_takes_opens_another(site):
    with site.held(STREAMS_MAX + 1):
        assert site.backend.counts() == [STREAMS_MAX, 1]


def test_the_servers_limit_bounds_each_connection(tmp_path):
    with served(tmp_path, streams=3) as site:
        assert site.get("/ok") == (200, b"ok")
        with site.held(10):
            pass
        assert {connection.peak for connection in site.backend.connections} <= {1, 2, 3}
        assert len(site.backend.connections) == 4


def test_connections_over_tls_are_shared_too(tmp_path):
    with served(tmp_path, over_tls=True) as site:
        assert site.get("/ok") == (200, b"ok")
        with site.held(50):
            assert site.backend.counts() == [50]


def test_requests_one_after_another_stay_on_one_connection(site):
    for _ in range(2 * STREAMS_MAX + 50):
        assert site.get("/ok") == (200, b"ok")
    assert [connection.opened for connection in site.backend.connections] == [2 * STREAMS_MAX + 50]


def test_streams_above_goaways_last_go_to_another_connection_and_those_below_are_served(site):
    with site.held(3):
        assert site.get("/goaway") == (200, b"ok")
        assert site.get("/ok") == (200, b"ok")
        site.backend.wait(lambda backend: backend.counts() == [3, 0])
        assert site.backend.connections[1].opened == 2


def test_a_post_that_goaway_refused_is_sent_again(site):
    with site.held(1):
        assert site.get("/goaway", "POST", b"") == (200, b"ok")


def test_a_refused_stream_is_tried_again_a_few_times(site):
    assert site.get("/ok") == (200, b"ok")
    status, _ = site.get("/refuse")
    assert status == 502, "the same connection refuses it again"
    assert site.backend.connections[0].opened == 5
    assert site.get("/ok") == (200, b"ok")


def test_a_reset_ends_its_request_alone(site):
    with site.held(2):
        assert site.get("/reset")[0] == 502
        assert site.get("/ok") == (200, b"ok")
    assert len(site.backend.connections) == 1


def test_a_connection_that_closes_is_replaced_by_one(site):
    assert site.get("/ok") == (200, b"ok")
    with site.held(19):
        assert site.get("/cut") == (200, b"ok")
        site.backend.wait(lambda backend: backend.counts()[1:] == [19])


def test_a_client_that_leaves_cancels_its_stream_alone(site):
    with site.held(2):
        client = socket.create_connection(("127.0.0.1", site.port))
        client.sendall(b"GET /silent HTTP/1.1\r\nHost: localhost\r\n\r\n")
        site.backend.wait(lambda backend: backend.counts() == [3])
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        site.backend.wait(lambda backend: backend.counts() == [2])
        assert list(site.backend.connections[0].resets.values()) == [CANCEL]


def test_a_stream_that_its_client_resets_is_reset_upstream(site):
    client = Client(site.tls)
    client.send(frame(HEADERS, END_HEADERS | 1, 1, get("/silent")))
    site.backend.wait(lambda backend: backend.counts() == [1])
    client.send(frame(RST_STREAM, 0, 1, b"\0\0\0\x08"))
    site.backend.wait(lambda backend: backend.counts() == [0])
    assert list(site.backend.connections[0].resets.values()) == [CANCEL]


def test_an_answer_before_the_bodys_end_is_passed_on_and_the_connection_kept(site):
    client = Client(site.tls)
    head = post("/early", content_length="9")
    client.send(frame(HEADERS, END_HEADERS, 1, head), frame(DATA, 0, 1, b"begun"))
    assert client.read_until(DATA, 1)[1] == b"ok"
    assert site.get("/ok") == (200, b"ok")
    assert [connection.opened for connection in site.backend.connections] == [2]


def test_clients_that_do_not_read_hold_no_other_back(site):
    idle = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(60)]
    for client in idle:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"GET /huge HTTP/1.1\r\nHost: localhost\r\n\r\n")
    site.backend.wait(lambda backend: backend.counts() == [len(idle)])
    assert site.get("/ok") == (200, b"ok")
    assert site.get("/huge") == (200, b"x" * HUGE_BYTES)
    for client in idle:
        client.close()


def test_the_program_sees_answers_of_http2(site):
    assert site.get("/ok/seen") == (200, b"seen 200")
