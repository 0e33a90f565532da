"""The cache between routes and upstreams: validation, collapsing, ranges, conditions, purging, handlers."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from origins import Told

PATIENCE_S = 60
CADDYFILE = """http://:PORT {
	handle /purged/* {
		cache 5m {
			purge 127.0.0.1
		}
		reverse_proxy 127.0.0.1:ORIGIN
	}
	handle /unpurged/* {
		cache 5m {
			purge 192.0.2.0/24
		}
		reverse_proxy 127.0.0.1:ORIGIN
	}
	handle /keyed/* {
		cache 5m {
			key "{http.request.uri.path} {header.x-tenant}"
		}
		reverse_proxy 127.0.0.1:ORIGIN
	}
	handle /small/* {
		cache 5m {
			max_size 1000
		}
		reverse_proxy 127.0.0.1:ORIGIN
	}
	handle /seen/* {
		cache 5m
		intercept {
			@ok status 200
			replace_status @ok 203
		}
		reverse_proxy 127.0.0.1:ORIGIN
	}
	handle /changed/* {
		cache 5m
		header X-Time {time.now.unix_ms}
		encode gzip
		reverse_proxy 127.0.0.1:ORIGIN {
			header_down X-Down "for {header.x-user}"
		}
	}
	handle /handled/* {
		cache 5m
		reverse_proxy 127.0.0.1:ORIGIN {
			@ok status 200
			handle_response @ok {
				copy_response
			}
		}
	}
	handle /guarded/* {
		cache 5m
		basic_auth {
			bob $2b$04$zbAr4P/9Bs1LAUuIcwF3h.WK7XyBzkcXQLYSh15rREoUBoLy.IAom
		}
		reverse_proxy 127.0.0.1:ORIGIN
	}
	handle /stale/* {
		cache {
			stale 1h
		}
		reverse_proxy 127.0.0.1:ORIGIN
	}
	handle /gone/* {
		cache
		reverse_proxy 127.0.0.1:DEAD
	}
	handle {
		cache
		reverse_proxy 127.0.0.1:ORIGIN
	}
}
"""


@pytest.fixture(scope="module")
def node(serve, origin):
    return serve(CADDYFILE.replace("ORIGIN", str(origin.port)).replace("DEAD", "9"), workers=2)


FRESH = {"Cache-Control": "max-age=60"}
STALE = {"Cache-Control": "max-age=60", "Age": "100", "ETag": '"a"', "X-Version": "1"}


def test_a_hit_says_so_and_how_old_it_is(node, origin):
    origin.will(Told({**FRESH, "Age": "10", "X-Own": "1"}, b"kept"))
    first = node.ask("/hit")
    assert first.get("Cache-Status") == "zeroserve; fwd=uri-miss; fwd-status=200; stored"
    second = node.ask("/hit")
    assert (second.status, second.body, second.get("X-Own")) == (200, b"kept", "1")
    assert second.get("Cache-Status").startswith("zeroserve; hit; ttl=")
    assert 10 <= int(second.get("Age")) < 60
    assert second.fields.get_all("Age") == [second.get("Age")]
    assert len(origin.asked) == 1


def test_head_is_answered_from_a_kept_get(node, origin):
    origin.will(Told(FRESH, b"x" * 5000))
    node.ask("/head")
    answer = node.ask("/head", "HEAD")
    assert (answer.status, answer.body, answer.get("Content-Length")) == (200, b"", "5000")
    assert len(origin.asked) == 1


def test_an_answer_to_head_is_not_kept(node, origin):
    origin.will(Told(FRESH, b"content"))
    node.ask("/headfirst", "HEAD")
    assert node.ask("/headfirst").body == b"content"
    assert len(origin.asked) == 2


def test_a_stale_answer_is_validated_and_freshened(node, origin):
    origin.will(
        Told(STALE, b"one"),
        Told({"ETag": '"a"', "Cache-Control": "max-age=60", "X-Version": "2"}, status=304),
    )
    node.ask("/validated")
    answer = node.ask("/validated")
    assert origin.asked[1][2]["if-none-match"] == '"a"'
    assert (answer.status, answer.body, answer.get("X-Version")) == (200, b"one", "2")
    assert answer.get("Cache-Status") == "zeroserve; fwd=stale; fwd-status=304"
    assert answer.get("Age") == "0"
    assert "hit" in node.ask("/validated").get("Cache-Status")
    assert len(origin.asked) == 2


def test_what_was_changed_takes_the_place_of_what_is_stale(node, origin):
    origin.will(Told(STALE, b"one"), Told({**FRESH, "ETag": '"b"'}, b"two"))
    node.ask("/replaced")
    assert [node.ask("/replaced").body for _ in range(2)] == [b"two", b"two"]
    assert len(origin.asked) == 2


def test_last_modified_validates_where_there_is_no_tag(node, origin):
    modified = "Mon, 01 Jan 2024 00:00:00 GMT"
    origin.will(
        Told({"Cache-Control": "max-age=60", "Age": "100", "Last-Modified": modified}, b"one"),
        Told(FRESH, status=304),
    )
    node.ask("/modified")
    assert node.ask("/modified").body == b"one"
    assert origin.asked[1][2]["if-modified-since"] == modified


def test_a_304_about_another_version_is_not_taken(node, origin):
    origin.will(Told(STALE, b"one"), Told({"ETag": '"z"'}, status=304))
    node.ask("/other")
    assert node.ask("/other").status == 304


def test_conditions_of_clients_are_judged_here(node, origin):
    origin.will(Told({**FRESH, "ETag": '"a"'}, b"one"))
    first = node.ask("/conditional", If_None_Match='"a"')
    assert (first.status, first.body) == (304, b"")
    assert "if-none-match" not in origin.asked[0][2]
    assert node.ask("/conditional").body == b"one"
    again = node.ask("/conditional", If_None_Match='W/"a"')
    assert (again.status, again.body, again.get("ETag")) == (304, b"", '"a"')
    assert node.ask("/conditional", If_None_Match='"b"').body == b"one"
    assert node.ask("/conditional", If_Match='"b"').status == 412
    assert len(origin.asked) == 1


@pytest.mark.parametrize(
    ("wanted", "cut"),
    [
        ("bytes=2-4", (206, b"234", "bytes 2-4/10")),
        ("bytes=-3", (206, b"789", "bytes 7-9/10")),
        ("bytes=8-", (206, b"89", "bytes 8-9/10")),
        ("bytes=20-", (416, b"", "bytes */10")),
        ("bytes=0-1,4-5", (200, b"0123456789", "")),
        ("lines=1-2", (200, b"0123456789", "")),
    ],
)
def test_ranges_are_cut_from_what_is_kept(node, origin, wanted, cut):
    origin.will(Told(FRESH, b"0123456789"))
    path = "/range/" + wanted.replace("=", "-").replace(",", "-")
    node.ask(path)
    answer = node.ask(path, Range=wanted)
    assert (answer.status, answer.body, answer.get("Content-Range")) == cut
    assert len(origin.asked) == 1


def test_a_range_of_what_is_not_kept_goes_up_and_is_not_kept(node, origin):
    origin.will(Told(FRESH, b"01", 206), Told(FRESH, b"0123"))
    assert node.ask("/partial", Range="bytes=0-1").status == 206
    assert origin.asked[0][2]["range"] == "bytes=0-1"
    assert node.ask("/partial").body == b"0123"


def test_requests_for_the_same_wait_for_one_fetch(node, origin):
    go = threading.Event()
    origin.will(Told(FRESH, b"shared", before=lambda: go.wait(PATIENCE_S)))
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(node.ask, "/collapsed") for _ in range(8)]
        origin.settle(1)
        threading.Timer(0.3, go.set).start()
        bodies = {answer.result().body for answer in answers}
    assert bodies == {b"shared"}
    assert len(origin.asked) == 1


def test_nobody_waits_for_what_was_not_kept(node, origin):
    origin.will(Told({"Cache-Control": "private"}, b"mine"))
    node.ask("/private")
    go = threading.Event()
    both = threading.Barrier(2)
    origin.will(Told({"Cache-Control": "private"}, b"mine", before=lambda: both.wait(PATIENCE_S)))
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(node.ask, "/private") for _ in range(2)]
        assert {answer.result().status for answer in answers} == {200}
    go.set()


def test_stale_while_revalidate_answers_at_once_and_fetches(node, origin):
    origin.will(
        Told({"Cache-Control": "max-age=60, stale-while-revalidate=600", "Age": "100"}, b"one"),
        Told(FRESH, b"two"),
    )
    node.ask("/while")
    assert node.ask("/while").body == b"one"
    origin.settle(2)
    deadline = time.monotonic() + PATIENCE_S
    while (body := node.ask("/while").body) == b"one" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert body == b"two"
    assert len(origin.asked) == 2


@pytest.mark.parametrize("path", ["/error", "/stale/error"])
def test_stale_if_error_answers_for_a_failing_origin(node, origin, path):
    control = "max-age=60" if path.startswith("/stale") else "max-age=60, stale-if-error=600"
    # Within the route's window a stale answer serves while another is fetched: by then that has failed.
    origin.will(Told({"Cache-Control": control, "Age": "100"}, b"one"), Told(status=503, body=b"down"))
    node.ask(path)
    answer = node.ask(path)
    assert (answer.status, answer.body) == (200, b"one")
    # Nothing of the error's body comes to anybody.
    origin.will(Told(body=b"own"))
    assert [node.ask(f"{path}/own").body for _ in range(3)] == [b"own"] * 3


def test_an_error_is_an_error_where_nothing_allows_stale(node, origin):
    origin.will(Told(STALE, b"one"), Told(status=503, body=b"down"))
    node.ask("/down")
    assert node.ask("/down").status == 503


def test_an_upstream_that_is_not_there_is_502(node):
    assert node.ask("/gone/1").status == 502


def test_unsafe_methods_forget_what_they_may_have_changed(node, origin):
    origin.will(Told(FRESH, b"one"), Told(status=204), Told(FRESH, b"two"))
    node.ask("/unsafe")
    node.ask("/unsafe", "POST")
    assert node.ask("/unsafe").body == b"two"


def test_failed_unsafe_methods_forget_nothing(node, origin):
    origin.will(Told(FRESH, b"one"), Told(status=500), Told(FRESH, b"two"))
    node.ask("/failed")
    node.ask("/failed", "PUT")
    assert node.ask("/failed").body == b"one"


def test_safe_methods_forget_nothing(node, origin):
    origin.will(Told(FRESH, b"one"), Told(status=200, body=b""), Told(FRESH, b"two"))
    node.ask("/safe")
    node.ask("/safe", "OPTIONS")
    assert node.ask("/safe").body == b"one"


def test_purge_forgets_an_answer_with_all_that_varies(node, origin):
    vary = {**FRESH, "Vary": "X-A"}
    origin.will(Told(vary, b"one"), Told(vary, b"two"), Told(vary, b"three"))
    node.ask("/purged/1", X_A="1")
    node.ask("/purged/1", X_A="2")
    assert node.ask("/purged/1", "PURGE").status == 204
    assert node.ask("/purged/1", X_A="1").body == b"three"
    assert node.ask("/purged/1", X_A="2").body == b"three"
    assert node.ask("/purged/none", "PURGE").status == 404
    assert [asked[0] for asked in origin.asked] == ["GET"] * 4


def test_strangers_may_not_purge(node, origin):
    origin.will(Told(FRESH, b"one"))
    node.ask("/unpurged/1")
    assert node.ask("/unpurged/1", "PURGE").status == 403
    assert node.ask("/unpurged/1").body == b"one"
    assert len(origin.asked) == 1


def test_purge_without_a_purger_is_a_method_as_any(node, origin):
    origin.will(Told(status=200, body=b"mine"))
    assert node.ask("/method", "PURGE").body == b"mine"
    assert origin.asked[0][0] == "PURGE"


def test_a_key_of_ones_own_takes_the_place_of_the_uri(node, origin):
    origin.will(Told(FRESH, b"one"), Told(FRESH, b"two"))
    assert node.ask("/keyed/a?x=1", X_Tenant="1").body == b"one"
    assert node.ask("/keyed/a?x=2", X_Tenant="1").body == b"one"
    assert node.ask("/keyed/a?x=1", X_Tenant="2").body == b"two"


def test_queries_and_hosts_are_apart(node, origin):
    origin.will(Told(FRESH, b"one"), Told(FRESH, b"two"), Told(FRESH, b"three"))
    assert node.ask("/apart?a").body == b"one"
    assert node.ask("/apart?b").body == b"two"
    assert node.ask("/apart?a", Host="other.example").body == b"three"


def test_answers_larger_than_the_bound_are_not_kept(node, origin):
    origin.will(Told({}, b"x" * 1001), Told({}, b"y" * 1000))
    assert len(node.ask("/small/1").body) == 1001
    assert node.ask("/small/1").body == b"y" * 1000
    assert node.ask("/small/1").body == b"y" * 1000
    assert len(origin.asked) == 2


def test_a_large_kept_answer_comes_whole(node, origin):
    content = bytes(range(256)) * 4000
    origin.will(Told(FRESH, content))
    assert all(node.ask("/large").body == content for _ in range(3))
    assert len(origin.asked) == 1


def test_interceptions_see_kept_answers(node, origin):
    origin.will(Told({}, b"seen"))
    answers = [node.ask("/seen/1") for _ in range(2)]
    assert [(answer.status, answer.body) for answer in answers] == [(203, b"seen")] * 2
    assert len(origin.asked) == 1


def test_changes_of_answers_are_made_for_each_request(node, origin):
    content = b"<p>hello</p>" * 200
    origin.will(Told({"Content-Type": "text/html"}, content))
    node.ask("/changed/1", X_User="one")
    answer = node.ask("/changed/1", X_User="two", Accept_Encoding="gzip")
    assert answer.get("X-Down") == "for two"
    assert answer.get("X-Time")
    assert answer.get("Content-Encoding") == "gzip"
    assert node.ask("/changed/1").body == content
    assert len(origin.asked) == 1


def test_answers_that_the_route_reads_are_not_kept(node, origin):
    origin.will(Told({}, b"one"), Told({}, b"two"))
    assert [node.ask("/handled/1").body for _ in range(2)] == [b"one", b"two"]


def test_access_control_stands_before_the_cache(node, origin):
    origin.will(Told({"Cache-Control": "public, max-age=60"}, b"secret"))
    token = "Basic Ym9iOmhpY2NvcGU="
    refused = node.ask("/guarded/1")
    assert refused.status == 401
    node.ask("/guarded/1", Authorization=token)
    assert node.ask("/guarded/1").status == 401
