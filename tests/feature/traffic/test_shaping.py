"""`fault` makes requests wait or fail, `bandwidth` holds answers back; both leave other requests alone."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from origins import Told

CADDYFILE = """http://:PORT {
	handle /aborted/* {
		fault {
			abort 503
		}
		reverse_proxy 127.0.0.1:ORIGIN
	}
	handle /half/* {
		fault {
			abort 418 50%
		}
		respond ok
	}
	handle /delayed/* {
		fault {
			delay 300ms
		}
		reverse_proxy 127.0.0.1:ORIGIN
	}
	handle /both/* {
		fault {
			delay 200ms
			abort 500
		}
		respond ok
	}
	handle /few/* {
		concurrency 2 {header.x-key}
		reverse_proxy 127.0.0.1:ORIGIN
	}
	handle /slow/* {
		bandwidth 100KB 20KB
		reverse_proxy 127.0.0.1:ORIGIN
	}
	handle /slowkept/* {
		bandwidth 200KB
		cache 5m
		reverse_proxy 127.0.0.1:ORIGIN
	}
	handle {
		reverse_proxy 127.0.0.1:ORIGIN
	}
	handle_errors {
		respond "{err.status_code}"
	}
}
"""


@pytest.fixture(scope="module")
def node(serve, origin):
    return serve(CADDYFILE.replace("ORIGIN", str(origin.port)))


def timed(node, path, **fields):
    start = time.monotonic()
    answer = node.ask(path, **fields)
    return answer, time.monotonic() - start


def test_an_aborted_request_never_comes_to_its_upstream(node, origin):
    origin.will(Told())
    answer = node.ask("/aborted/1")
    assert (answer.status, answer.body) == (503, b"503")
    assert origin.asked == []


def test_a_share_of_requests_is_aborted(node):
    statuses = [node.ask("/half/1").status for _ in range(200)]
    # 200 fair coins: less than one run in 10^9 lies outside.
    assert 55 < statuses.count(418) < 145
    assert statuses.count(200) == 200 - statuses.count(418)


def test_a_delayed_request_waits_and_is_served(node, origin):
    origin.will(Told(body=b"late"))
    answer, took_s = timed(node, "/delayed/1")
    assert answer.body == b"late"
    assert took_s >= 0.3


def test_a_delay_holds_up_nobody_else(node, origin):
    origin.will(Told())
    with socket.create_connection(("127.0.0.1", node.port)) as waiting:
        waiting.sendall(b"GET /delayed/1 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert node.ask("/free").status == 200
        waiting.settimeout(60)
        assert waiting.recv(12) == b"HTTP/1.1 200"


def test_both_faults_come_in_order(node):
    answer, took_s = timed(node, "/both/1")
    assert answer.status == 500
    assert took_s >= 0.2


def test_so_many_requests_of_a_key_are_under_way_and_no_more(node, origin):
    go = threading.Event()
    origin.will(Told(before=lambda: go.wait(60)))
    with ThreadPoolExecutor(2) as pool:
        under_way = [pool.submit(node.ask, "/few/1", X_Key="one") for _ in range(2)]
        origin.settle(2)
        assert [node.ask("/few/1", X_Key="one").status for _ in range(3)] == [429] * 3
        origin.answers = [Told()]
        assert node.ask("/few/1", X_Key="two").status == 200
        go.set()
        assert [one.result().status for one in under_way] == [200, 200]
    # Places are given back: by those that were served, and by those that were refused none was taken.
    assert [node.ask("/few/1", X_Key="one").status for _ in range(5)] == [200] * 5


def test_an_answer_takes_as_long_as_its_bandwidth_says(node, origin):
    content = bytes(120_000)
    origin.will(Told(body=content))
    answer, took_s = timed(node, "/slow/1")
    assert answer.body == content
    # 20 KB are free; of the other 100 KB what comes with one read of the upstream may be ahead.
    assert took_s >= 0.3
    assert timed(node, "/free")[0].body == content


def test_a_kept_answer_has_the_same_bandwidth(node, origin):
    content = bytes(200_000)
    origin.will(Told(body=content))
    node.ask("/slowkept/1")
    answer, took_s = timed(node, "/slowkept/1")
    assert answer.body == content
    assert took_s >= 0.3
    assert len(origin.asked) == 1
