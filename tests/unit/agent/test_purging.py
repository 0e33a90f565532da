"""Purges that the operator tells: once each, by the engine, before they count as done."""

import asyncio
import contextlib
import os
import time

import pytest
from ports import free_port
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import SnapshotDraft, make_resource
from zeroserve_ir.purges import AWAY_S
from zeroserve_operator.publishing.serving import DiscoveryServer

NEWS = "https://shop.example/news/*"


def purge(name="shop/one", tenant="shop", targets=(NEWS,)):
    return pb.Purge(name=name, tenant=tenant, targets=targets)


def draft_of(*messages, port=80):
    listener = pb.Listener(name="http", port=port)
    return SnapshotDraft.of(make_resource(message) for message in (listener, *messages))


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario, 120))


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


def test_a_purge_is_done_once_for_its_namespace(supervisor, open_node):
    async def scenario():
        async with supervisor, open_node() as node:
            await node.apply(draft_of(purge()))
            assert supervisor.purges == [("shop", NEWS)]
            await node.apply(draft_of(purge(), port=81))
            await node.apply(draft_of(purge(), purge("shop/two", targets=("a", "b")), port=81))
            assert supervisor.purges == [("shop", NEWS), ("shop", "a"), ("shop", "b")]

    run(scenario())


def test_another_purge_of_the_same_name_is_done_too(supervisor, open_node):
    async def scenario():
        async with supervisor, open_node() as node:
            await node.apply(draft_of(purge()))
            await node.apply(draft_of())
            await node.apply(draft_of(purge()))
            await node.apply(draft_of(purge(targets=("other",))))
            assert [target for _, target in supervisor.purges] == [NEWS, NEWS, "other"]

    run(scenario())


def test_the_engine_holds_no_purges(supervisor, open_node):
    async def scenario():
        async with supervisor, open_node() as node:
            await node.apply(draft_of(purge()))
            assert [kind for kind, _ in supervisor.held] == [pb.LISTENER]

    run(scenario())


@pytest.mark.parametrize("bad", [purge(tenant=""), purge(targets=("",))])
def test_nothing_that_is_not_one_namespaces_reaches_the_engine(supervisor, open_node, bad):
    async def scenario():
        async with supervisor, open_node() as node:
            await node.apply(draft_of(bad))
            assert supervisor.purges == []

    run(scenario())


def test_a_purge_that_was_lost_on_its_way_is_sent_again(supervisor, open_node):
    async def scenario():
        supervisor.purges_lost = 1
        async with supervisor, open_node() as node:
            await node.apply(draft_of(purge()))
            assert supervisor.purges == [("shop", NEWS)]

    run(scenario())


@contextlib.asynccontextmanager
async def operator(*messages):
    """Serve a snapshot; yields the port, and the purges that were acknowledged."""
    server = DiscoveryServer()
    port = await server.start("127.0.0.1:0")
    draft = draft_of(*messages)
    await server.publish(draft)

    def done():
        tally = server.acknowledgements.tally
        return [
            name for (kind, name), one in draft.resources.items() if tally((kind, name), one.version).served
        ]

    try:
        yield port, done
    finally:
        await server.stop()


def test_a_purge_is_acknowledged_once_it_is_done(supervisor, open_agent):
    async def scenario():
        async with operator(purge()) as (port, done), supervisor, open_agent(port):
            await until(lambda: "shop/one" in done())
            assert ("shop", NEWS) in supervisor.purges

    run(scenario())


def test_a_restarted_agent_repeats_nothing_and_does_what_came_meanwhile(supervisor, open_agent):
    async def scenario():
        async with operator(purge()) as (port, done), supervisor, open_agent(port):
            await until(lambda: "shop/one" in done())
        supervisor.purges.clear()
        async with (
            operator(purge(), purge("shop/two", targets=("two",))) as (port, done),
            supervisor,
            open_agent(port),
        ):
            await until(lambda: "shop/two" in done())
        assert supervisor.purges == [("shop", "two")]

    run(scenario())


def test_a_node_that_was_away_for_longer_than_purges_are_told_forgets_all(supervisor, open_agent, tmp_path):
    async def scenario():
        async with operator() as (port, done), supervisor, open_agent(port):
            await until(lambda: "http" in done())
        supervisor.purges.clear()
        long_ago = time.time() - AWAY_S - 1
        os.utime(tmp_path / "state" / "contact", (long_ago, long_ago))
        async with supervisor, open_agent(free_port()) as agent:
            await until(lambda: agent.subscriber.state.reconnects >= 1)
        assert supervisor.purges == []
        async with operator() as (port, done), supervisor, open_agent(port):
            await until(lambda: "http" in done())
        assert supervisor.purges == [("", "")]

    run(scenario())
