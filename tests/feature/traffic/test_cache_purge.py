"""`zeroserve cache purge` makes a running server forget: all, a URL, what begins so, or a key's text."""

import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from origins import Told

CADDYFILE = """http://:PORT {
	cache /keyed/* 5m {
		key "tenant {header.x-tenant}"
	}
	cache 5m
	reverse_proxy 127.0.0.1:%d
}
"""


@pytest.fixture(scope="module")
def node(serve, origin):
    return serve(CADDYFILE % origin.port, workers=2)


def purge(node, *target):
    command = [node.zeroserve, "cache", "purge", *target, "--admin", node.admin]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_a_url_is_forgotten(node, origin):
    origin.will(Told(body=b"one"), Told(body=b"other"), Told(body=b"two"))
    url = f"http://127.0.0.1:{node.port}/one"
    node.ask("/one")
    node.ask("/other")
    assert purge(node, url) == "1 answers forgotten"
    assert purge(node, url) == "0 answers forgotten"
    assert node.ask("/other").body == b"other"
    assert node.ask("/one").body == b"two"


def test_what_begins_so_is_forgotten(node, origin):
    origin.will(Told(body=b"x"))
    for path in ("/news/1", "/news/2", "/new"):
        node.ask(path)
    assert purge(node, f"http://127.0.0.1:{node.port}/news/*") == "2 answers forgotten"
    assert node.ask("/new").get("Cache-Status").startswith("zeroserve; hit")


def test_a_key_of_ones_own_is_forgotten_by_its_text(node, origin):
    origin.will(Told(body=b"x"))
    node.ask("/keyed/1", X_Tenant="1")
    node.ask("/keyed/1", X_Tenant="2")
    assert purge(node, "tenant 1") == "1 answers forgotten"
    assert "hit" in node.ask("/keyed/1", X_Tenant="2").get("Cache-Status")


def test_everything_is_forgotten(node, origin):
    origin.will(Told(body=b"x"))
    node.ask("/everything")
    assert not purge(node, "--all").startswith("0 ")
    assert "uri-miss" in node.ask("/everything").get("Cache-Status")


def test_what_was_on_its_way_is_not_kept(node, origin):
    go = threading.Event()
    origin.will(Told(body=b"old", before=lambda: go.wait(60)), Told(body=b"new"))
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(node.ask, "/under-way")
        origin.settle(1)
        purge(node, "--all")
        go.set()
        assert under_way.result().body == b"old"
    assert node.ask("/under-way").body == b"new"
