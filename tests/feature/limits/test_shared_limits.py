"""`rate_limit` with `shared`, as users run it: two servers and a store, which goes away and comes back."""

import asyncio
import contextlib
import http.client

import pytest
from ports import free_port
from starting import apart, serving
from storing import await_store
from zeroserve_dataplane.agent.embedding import EmbeddedNode
from zeroserve_dataplane.settings import EmbeddedSettings
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.drafting_sites import draft_sites

EVENTS = 10
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
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
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


def test_two_servers_count_a_key_together_and_others_apart(tmp_path, store):
    with (
        node(tmp_path / "a", store.address, ("*", "")) as (_, one),
        node(tmp_path / "b", store.address, ("*", "")) as (_, two),
    ):
        answers = [ask(port)[0] for _ in range(6) for port in (one, two)]
        assert answers == [200] * EVENTS + [429] * 2
        status, retry_after = ask(two)
        # Ten in an hour: the next one after six minutes.
        assert (status, 300 < int(retry_after) <= 360) == (429, True)
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
        assert statuses(closed, EVENTS + 1, "/closed") == [200] * EVENTS + [429]


def test_a_store_that_hangs_is_away_and_no_request_waits_for_long(tmp_path, store):
    with node(tmp_path / "a", store.address, ("*", "store_down closed")) as (metrics, port):
        assert statuses(port, 2) == [200, 200]
        store.freeze()
        assert statuses(port, 3) == [503, 503, 503]
        await_store(metrics, up=False)
        store.thaw()
        await_store(metrics, up=True)
        # What was on its way to the store may have taken tokens that nobody got: fewer pass, never more.
        passed = statuses(port, EVENTS).count(200)
        assert EVENTS - 4 <= passed <= EVENTS - 2


def test_a_reload_keeps_what_was_counted(tmp_path, store):
    def draft(port, answer):
        text = (SITE % (port, "*", "")).replace("respond ok", f"respond {answer}")
        return draft_sites(read_configuration(text, environment={})[0]).draft

    async def run():
        port = free_port()
        settings = EmbeddedSettings(workers=1, limit_store=store.address, metrics_port=0)
        async with EmbeddedNode(settings) as embedded:
            await embedded.apply(draft(port, "before"))
            await asyncio.to_thread(await_store, embedded.metrics.port, up=True)
            before = await asyncio.to_thread(statuses, port, EVENTS - 1)
            await embedded.apply(draft(port, "after"))
            return before, await asyncio.to_thread(statuses, port, 2)

    assert asyncio.run(run()) == ([200] * (EVENTS - 1), [200, 429])


@pytest.mark.parametrize("address", ["", "redis://127.0.0.1:1"])
def test_without_a_store_a_server_counts_for_itself(tmp_path, address):
    port = free_port()
    (tmp_path / "Caddyfile").write_text("{\nadmin off\n}\n" + SITE % (port, "*", ""))
    environment = apart(tmp_path) | ({"ZEROSERVE_LIMIT_STORE": address} if address else {})
    with serving(tmp_path, port, environment=environment):
        assert statuses(port, EVENTS + 1) == [200] * EVENTS + [429]
