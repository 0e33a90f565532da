"""`hedge`: another upstream is asked too where the first is silent; the first answer is the client's."""

import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from ports import free_ports

TIMEOUT_S = 60
HEDGED = "{\n\t\tlb_policy first\n\t\thedge 30ms\n\t}"


def count(port, name):
    """Return the value of a metric without labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=TIMEOUT_S) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split(" ")[1]) for line in lines if line.startswith(name + " "))


def test_a_silent_upstream_is_not_waited_for(serve, backends, ask):
    one, two = backends
    port = serve(f"\treverse_proxy {one.address} {two.address} {HEDGED}")
    two.release.set()
    assert ask(port, "/hold") == (200, "two")
    assert one.arrived.acquire(timeout=TIMEOUT_S)
    assert [len(one.seen), len(two.seen)] == [1, 1]
    one.release.set()
    # Where the machine stands still the second one may be asked, and answer, again.
    assert ask(port, "/")[0] == 200
    assert one.arrived.acquire(timeout=TIMEOUT_S), "the one that lost is asked again"
    assert one.seen[1][1] == "/"


def test_the_first_upstream_may_answer_after_all(serve, backends, ask):
    one, two = backends
    port = serve(f"\treverse_proxy {one.address} {two.address} {HEDGED}")
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(ask, port, "/hold")
        assert two.arrived.acquire(timeout=TIMEOUT_S)
        one.release.set()
        assert asked.result(TIMEOUT_S) == (200, "one")
        two.release.set()
    assert ask(port, "/")[0] == 200


def test_what_may_not_be_repeated_has_one_attempt(serve, backends, ask):
    """The one that may is asked later, and comes to the second upstream alone."""
    one, two = backends
    port = serve(f"\treverse_proxy {one.address} {two.address} {HEDGED}")
    with ThreadPoolExecutor() as pool:
        posted = pool.submit(ask, port, "/hold", "POST", b"body")
        assert one.arrived.acquire(timeout=TIMEOUT_S)
        two.release.set()
        assert ask(port, "/hold") == (200, "two")
        assert [(method, path) for method, path, *_ in two.seen] == [("GET", "/hold")]
        one.release.set()
        assert posted.result(TIMEOUT_S) == (200, "one")


def test_nobody_is_asked_twice_by_default(serve, backends, ask):
    one, two = backends
    routes = (
        f"\treverse_proxy /hold/plain {one.address} {two.address} {{\n\t\tlb_policy first\n\t}}\n"
        f"\treverse_proxy /hold/hedged {one.address} {two.address} {HEDGED}"
    )
    port = serve(routes)
    with ThreadPoolExecutor() as pool:
        plain = pool.submit(ask, port, "/hold/plain")
        assert one.arrived.acquire(timeout=TIMEOUT_S)
        two.release.set()
        assert ask(port, "/hold/hedged") == (200, "two")
        assert [path for _, path, *_ in two.seen] == ["/hold/hedged"]
        one.release.set()
        assert plain.result(TIMEOUT_S) == (200, "one")


def test_second_attempts_have_a_budget(serve, backends, ask):
    """Ten are granted always, then one in a hundred requests."""
    one, two = backends
    (metrics,) = free_ports(1)
    block = "{\n\t\tlb_policy first\n\t\thedge 30ms 1%\n\t}"
    routes = f"\treverse_proxy {one.address} {two.address} {block}"
    port = serve(routes, options=("--metrics-port", str(metrics)))
    two.release.set()
    with ThreadPoolExecutor() as pool:
        asked, deadline = [], time.monotonic() + TIMEOUT_S
        while count(metrics, "zeroserve_engine_upstream_retries_denied_total") == 0:
            assert time.monotonic() < deadline
            if all(one_asked.done() for one_asked in asked):
                asked.append(pool.submit(ask, port, "/hold"))
            time.sleep(0.005)
        one.release.set()
        *hedged, denied = [one_asked.result(TIMEOUT_S) for one_asked in asked]
    assert (set(hedged), denied) == ({(200, "two")}, (200, "one"))
    assert len(hedged) == len(two.seen) == count(metrics, "zeroserve_engine_upstream_hedges_total")
    # Ten more where the machine stands still for so long that the first ten are forgotten.
    assert len(hedged) in range(10, 21)


def test_a_second_attempt_that_fails_costs_nothing(serve, backends, ask):
    one, _ = backends
    (dead, metrics) = free_ports(2)
    routes = f"\treverse_proxy {one.address} 127.0.0.1:{dead} {HEDGED}"
    port = serve(routes, options=("--metrics-port", str(metrics)))
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(ask, port, "/hold") for _ in range(3)]
        deadline = time.monotonic() + TIMEOUT_S
        while count(metrics, "zeroserve_engine_upstream_hedges_total") < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        one.release.set()
        assert [answer.result(TIMEOUT_S) for answer in asked] == [(200, "one")] * 3
