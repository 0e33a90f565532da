"""`rate_limit` answers 429 with Retry-After past the rate of a key, and other keys go on."""

import http.client

import pytest
from ports import free_port
from starting import serving

TEXT = """{
	admin off
	auto_https off
}
http://:%d {
	handle_errors {
		respond "{err.status_code}" 429
	}
	rate_limit /limited {
		zone keys {
			key {header.x-key}
			events 3
			window 1h
		}
	}
	respond ok
}
"""


@pytest.fixture
def port(tmp_path):
    port = free_port()
    (tmp_path / "Caddyfile").write_text(TEXT % port)
    with serving(tmp_path, port):
        yield port


def ask(port, path, key):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers={"X-Key": key})
    answer = connection.getresponse()
    return answer.status, answer.getheader("Retry-After"), answer.read().decode()


def test_past_the_rate_of_its_key_a_request_is_refused(port):
    assert [ask(port, "/limited", "one")[0] for _ in range(3)] == [200, 200, 200]
    status, retry_after, body = ask(port, "/limited", "one")
    assert (status, body) == (429, "429")
    # Three in an hour: the next one after twenty minutes.
    assert 1100 < int(retry_after) <= 1200
    assert ask(port, "/limited", "two")[0] == 200
    assert ask(port, "/free", "one") == (200, None, "ok")
