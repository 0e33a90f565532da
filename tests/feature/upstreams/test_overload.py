"""Bounds of a cluster: requests under way, requests that wait, ejection of upstreams that fail in a row."""

from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice

TIMEOUT_S = 60


def test_above_its_bound_a_cluster_answers_503_at_once(serve, backends, ask):
    one, _ = backends
    port = serve(f"\treverse_proxy {one.address} {{\n\t\tmax_requests 1\n\t}}")
    with ThreadPoolExecutor() as pool:
        held = pool.submit(ask, port, "/hold")
        assert one.arrived.acquire(timeout=TIMEOUT_S)
        assert ask(port, "/")[0] == 503
        one.release.set()
        assert held.result() == (200, "one")
    assert ask(port, "/") == (200, "one")


def test_a_request_that_waits_goes_on_when_there_is_room(serve, backends, ask):
    """Of three, one may wait; the others are told at once."""
    one, _ = backends
    port = serve(f"\treverse_proxy {one.address} {{\n\t\tmax_requests 1\n\t\tqueue 1 1m\n\t}}")
    with ThreadPoolExecutor() as pool:
        held = pool.submit(ask, port, "/hold")
        assert one.arrived.acquire(timeout=TIMEOUT_S)
        answers = as_completed([pool.submit(ask, port, "/") for _ in range(3)], TIMEOUT_S)
        assert [answer.result()[0] for answer in islice(answers, 2)] == [503, 503]
        one.release.set()
        assert [answer.result() for answer in answers] == [(200, "one")]
        assert held.result() == (200, "one")


def test_a_request_waits_for_an_upstream_that_is_full(serve, backends, ask):
    one, _ = backends
    port = serve(f"\treverse_proxy {one.address} {{\n\t\tunhealthy_request_count 1\n\t\tqueue 5 1m\n\t}}")
    with ThreadPoolExecutor() as pool:
        held = pool.submit(ask, port, "/hold")
        assert one.arrived.acquire(timeout=TIMEOUT_S)
        waiting = pool.submit(ask, port, "/")
        assert not waiting.done()
        one.release.set()
        assert (held.result(), waiting.result()) == ((200, "one"), (200, "one"))


def test_who_waits_too_long_is_told(serve, backends, ask):
    one, _ = backends
    port = serve(f"\treverse_proxy {one.address} {{\n\t\tmax_requests 1\n\t\tqueue 5 50ms\n\t}}")
    with ThreadPoolExecutor() as pool:
        held = pool.submit(ask, port, "/hold")
        assert one.arrived.acquire(timeout=TIMEOUT_S)
        assert ask(port, "/")[0] == 503
        one.release.set()
        assert held.result() == (200, "one")


def test_upstreams_that_fail_in_a_row_are_left_out_but_never_all(serve, backends, ask):
    one, two = backends
    block = "{\n\t\tlb_policy first\n\t\toutlier_ejection 2 1h\n\t}"
    port = serve(f"\treverse_proxy {one.address} {two.address} {block}")
    assert [ask(port, "/fail") for _ in range(4)] == [(503, "one")] * 2 + [(503, "two")] * 2
    assert ask(port, "/") == (200, "two"), "the last one stays"


def test_a_retry_budget_ends_a_storm(serve, backends, ask):
    """Ten retries are granted always, then one in five requests."""
    one, _ = backends
    block = "{\n\t\tlb_retries 3\n\t\tretry_budget 20%\n\t\tlb_retry_match `{rp.status_code} == 503`\n\t}"
    port = serve(f"\treverse_proxy {one.address} {block}")
    assert {ask(port, "/fail")[0] for _ in range(20)} == {503}
    # Ten more where the machine stands still for so long that the first ten are forgotten.
    assert len(one.seen) <= 20 + 10 + 10 + 4 < 20 * 4
