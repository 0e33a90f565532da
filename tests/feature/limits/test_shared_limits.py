"""`rate_limit` with `shared`, as users run it: two servers and a store, which goes away and comes back."""

import asyncio
import contextlib
import http.client

import pytest
from ports import free_port
from starting import apart, serving
from storing import await_store, count_troubles
from zeroserve_dataplane.agent.embedding import EmbeddedNode
from zeroserve_dataplane.settings import EmbeddedSettings
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.drafting_sites import draft_sites

EVENTS = 10
ATTEMPTS = 5
HEAD = """{
	admin off
	auto_https off
	rate_limit_store %s
}
"""
SITE = """http://:%d {
	rate_limit %s {
		zone keys {
			key {header.x-key}
			events 10
			window 1h
			shared
		}
		%s
	}
	respond ok
}
"""
BY_PATH = [("/local", "store_down local"), ("/open", "store_down open"), ("/closed", "store_down closed")]


def ask(port, path="/", key="one"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"X-Key": key})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("Retry-After")


def statuses(port, count, path="/", key="one"):
    return [ask(port, path, key)[0] for _ in range(count)]


@contextlib.contextmanager
def node(folder, address, *sites):
    """Serve sites; yields the ports of the metrics and of the sites."""
    folder.mkdir()
    ports = [free_port() for _ in sites]
    text = HEAD % address + "".join(SITE % (port, *site) for port, site in zip(ports, sites, strict=True))
    (folder / "Caddyfile").write_text(text)
    metrics = free_port()
    options = ("--metrics-port", str(metrics))
    with serving(folder, *ports, options=options, environment=apart(folder)):
        await_store(metrics, up=True)
        yield metrics, *ports


def undisturbed(metrics, ask_by):
    """Return what `ask_by` a key is answered while the store is there for every node.

    Where the machine stands still for a moment it is not, which says nothing: then anew, by another key.
    """
    for attempt in range(ATTEMPTS):
        before = sum(map(count_troubles, metrics))
        answers = ask_by(f"key {attempt}")
        if sum(map(count_troubles, metrics)) == before:
            return answers
        for port in metrics:
            await_store(port, up=True)
    pytest.fail("the store is away time and again")


def test_two_servers_count_a_key_together_and_others_apart(tmp_path, store):
    with (
        node(tmp_path / "a", store.address, ("*", "")) as (first, one),
        node(tmp_path / "b", store.address, ("*", "")) as (second, two),
    ):

        def ask_in_turn(key):
            return [ask(port, key=key) for _ in range(6) for port in (one, two)]

        answers = undisturbed((first, second), ask_in_turn)
        assert [status for status, _ in answers] == [200] * EVENTS + [429] * 2
        # Ten in an hour: the next one after six minutes.
        assert all(300 < int(retry_after) <= 360 for _, retry_after in answers[EVENTS:])
        assert ask(one, key="x" * 5000) == (200, None)
        assert ask(two, key="\\xff\\x01 {}") == (200, None)


def test_while_the_store_is_away_each_zone_does_what_it_was_told_and_then_counts_together_again(
    tmp_path, store
):
    with node(tmp_path / "a", store.address, *BY_PATH) as (metrics, local, open_, closed):
        store.stop()
        await_store(metrics, up=False)
        assert statuses(local, EVENTS + 1, "/local") == [200] * EVENTS + [429]
        assert statuses(open_, EVENTS + 5, "/open") == [200] * (EVENTS + 5)
        assert statuses(closed, 2, "/closed") == [503, 503]
        assert ask(closed, "/elsewhere") == (200, None)
        store.start()
        await_store(metrics, up=True)
        answers = undisturbed([metrics], lambda key: statuses(closed, EVENTS + 1, "/closed", key))
        assert answers == [200] * EVENTS + [429]


def test_a_store_that_hangs_is_away_and_no_request_waits_for_long(tmp_path, store):
    with node(tmp_path / "a", store.address, ("*", "store_down closed")) as (metrics, port):

        def spend_two(key):
            return key, statuses(port, 2, key=key)

        key, spent = undisturbed([metrics], spend_two)
        assert spent == [200, 200]
        store.freeze()
        assert statuses(port, 3, key=key) == [503, 503, 503]
        await_store(metrics, up=False)
        store.thaw()
        await_store(metrics, up=True)
        before = count_troubles(metrics)
        passed = statuses(port, EVENTS, key=key).count(200)
        lost = count_troubles(metrics) - before
        # What was on its way to the store may have taken tokens that nobody got: fewer pass, never more.
        assert EVENTS - 4 - lost <= passed <= EVENTS - 2


def test_a_reload_keeps_what_was_counted(tmp_path, store):
    def draft(port, answer):
        text = (SITE % (port, "*", "")).replace("respond ok", f"respond {answer}")
        return draft_sites(read_configuration(text, environment={})[0]).draft

    async def run():
        port = free_port()
        settings = EmbeddedSettings(workers=1, limit_store=store.address, metrics_port=0)
        async with EmbeddedNode(settings) as embedded:
            loop = asyncio.get_running_loop()

            def apply(answer):
                asyncio.run_coroutine_threadsafe(embedded.apply(draft(port, answer)), loop).result()

            def ask_across_a_reload(key):
                apply("before")
                before = statuses(port, EVENTS - 1, key=key)
                apply("after")
                return before, statuses(port, 2, key=key)

            await embedded.apply(draft(port, "before"))
            await asyncio.to_thread(await_store, embedded.metrics.port, up=True)
            return await asyncio.to_thread(undisturbed, [embedded.metrics.port], ask_across_a_reload)

    assert asyncio.run(run()) == ([200] * (EVENTS - 1), [200, 429])


@pytest.mark.parametrize("address", ["", "redis://127.0.0.1:1"])
def test_without_a_store_a_server_counts_for_itself(tmp_path, address):
    port = free_port()
    (tmp_path / "Caddyfile").write_text("{\nadmin off\n}\n" + SITE % (port, "*", ""))
    environment = apart(tmp_path) | ({"ZEROSERVE_LIMIT_STORE": address} if address else {})
    with serving(tmp_path, port, environment=environment):
        assert statuses(port, EVENTS + 1) == [200] * EVENTS + [429]
