"""`rate_limit` answers 429 with Retry-After past the rate of a key, and other keys go on."""

import http.client
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ports import free_port

ZEROSERVE = Path(sys.executable).parent / "zeroserve"
START_TIMEOUT_S = 60
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
    with (tmp_path / "log").open("wb") as log:
        command = [ZEROSERVE, "run", "--config", "Caddyfile", "--admin", "off", "--workers", "1"]
        node = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while time.monotonic() < deadline and node.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield port
        finally:
            node.send_signal(signal.SIGTERM)
            node.wait(timeout=30)


def ask(port, path, key):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
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
