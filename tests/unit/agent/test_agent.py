"""The whole agent between a real Discovery server and a scripted supervisor."""

import asyncio
import threading
import time

from ports import free_port
from zeroserve_dataplane import last_good
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import SnapshotDraft, make_resource
from zeroserve_operator.publishing.serving import DiscoveryServer


def draft_of(*ports, bad=False):
    messages = [pb.Listener(name=f"http-{port}", port=port) for port in ports]
    if bad:
        messages.append(pb.VirtualHost(name="http://bad", hosts=["bad"], program="missing"))
    return SnapshotDraft.of(make_resource(message) for message in messages)


async def until(condition):
    while not condition():
        await asyncio.sleep(0.005)


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario, 240))


def test_what_the_operator_publishes_is_served_and_acknowledged(supervisor, open_agent):
    async def scenario():
        server = DiscoveryServer()
        port = await server.start("127.0.0.1:0")
        draft = draft_of(80)
        await server.publish(draft)
        async with supervisor, open_agent(port) as agent:
            key = (int(pb.LISTENER), "http-80")
            await until(lambda: server.acknowledgements.tally(key, draft.resources[key].version).served)
            assert supervisor.held == {key: draft.resources[key].version}
            assert agent.node.state.ready
        await server.stop()

    run(scenario())


def test_nothing_is_acknowledged_before_the_engine_serves_it(supervisor, open_agent):
    async def scenario():
        server = DiscoveryServer()
        port = await server.start("127.0.0.1:0")
        draft = draft_of(80)
        await server.publish(draft)
        key = (int(pb.LISTENER), "http-80")
        supervisor.deaf = True
        async with supervisor, open_agent(port):
            await until(lambda: supervisor.puts)
            await asyncio.sleep(0.05)
            assert server.acknowledgements.tally(key, draft.resources[key].version).pending == ("node-1",)
            supervisor.deaf = False
            supervisor.disconnect()
            await until(lambda: server.acknowledgements.tally(key, draft.resources[key].version).served)
        await server.stop()

    run(scenario())


def test_exactly_the_refused_resource_is_refused_towards_the_operator(supervisor, open_agent):
    async def scenario():
        server = DiscoveryServer()
        port = await server.start("127.0.0.1:0")
        draft = draft_of(80, bad=True)
        await server.publish(draft)
        async with supervisor, open_agent(port):
            await until(lambda: server.acknowledgements.nodes and server.acknowledgements.nodes[0].snapshot)
            (state,) = server.acknowledgements.nodes
            assert {key: refusal.code for key, refusal in state.refusals.items()} == {
                (int(pb.VIRTUAL_HOST), "http://bad"): "ZS0702"
            }
        await server.stop()

    run(scenario())


def test_a_restarted_agent_serves_the_last_good_snapshot_without_an_operator(supervisor, open_agent):
    async def scenario():
        server = DiscoveryServer()
        port = await server.start("127.0.0.1:0")
        await server.publish(draft_of(80, 81))
        async with supervisor, open_agent(port) as agent:
            await until(lambda: agent.node.state.ready)
        await server.stop()
        held, supervisor.held = supervisor.held, {}
        async with supervisor, open_agent(free_port()) as agent:
            await until(lambda: agent.node.state.ready)
            assert supervisor.held == held
            assert not agent.subscriber.state.connected

    run(scenario())


def test_an_agent_that_is_stopped_while_it_saves_ends_once_that_is_saved(
    supervisor, open_agent, tmp_path, monkeypatch
):
    begun = threading.Event()

    def write_slowly(descriptor):
        if not begun.is_set():
            begun.set()
            time.sleep(1)

    monkeypatch.setattr(last_good.os, "fsync", write_slowly)

    async def scenario():
        server = DiscoveryServer()
        port = await server.start("127.0.0.1:0")
        await server.publish(draft_of(80))
        async with supervisor, open_agent(port):
            await until(begun.is_set)
        loaded = last_good.LastGood(tmp_path / "state", allow_disk=True).load()
        assert loaded.draft == draft_of(80)
        await server.stop()

    run(scenario())


def test_an_agent_without_operator_and_last_good_snapshot_is_not_ready(supervisor, open_agent):
    async def scenario():
        async with supervisor, open_agent(free_port()) as agent:
            await until(lambda: agent.subscriber.state.reconnects >= 1)
            assert not agent.node.state.ready
            assert supervisor.commits == []

    run(scenario())
