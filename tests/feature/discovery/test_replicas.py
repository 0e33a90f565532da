"""Two replicas over real gRPC: the holder of the Lease counts the nodes of both."""

import asyncio
import contextlib
import importlib.util
from pathlib import Path

import pytest
from zeroserve_ir._pb import discovery_pb2 as discovery
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_operator.publishing.acknowledgements import Acknowledgements
from zeroserve_operator.publishing.forwarding import Forwarder, ForwardingSettings, LocatingError
from zeroserve_operator.publishing.serving import Component, DiscoveryServer, NodeIdentity

_spec = importlib.util.spec_from_file_location("discovery_rig", Path(__file__).with_name("conftest.py"))
assert _spec is not None
rig = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(rig)
Recorder, make_draft, until = rig.Recorder, rig.make_draft, rig.until

FIRST, SECOND = "operator-1", "operator-2"


class Cluster:
    """Two replicas and who holds the Lease."""

    def __init__(self):
        self.holder = FIRST
        self.ports = {}
        self.servers = {}

    def __getitem__(self, name):
        return self.servers[name]

    async def locate(self, name):
        if name not in self.ports:
            raise LocatingError(f"no Pod {name}")
        return f"127.0.0.1:{self.ports[name]}"

    @contextlib.asynccontextmanager
    async def running(self, token_file=None, **options):
        tasks = []
        for name in (FIRST, SECOND):
            forwarders = []
            server = DiscoveryServer(
                on_changed=lambda _, found=forwarders: [one.notice() for one in found],
                is_holder=lambda name=name: self.holder == name,
                **options,
            )
            self.servers[name] = server
            self.ports[name] = await server.start("127.0.0.1:0")
            settings = ForwardingSettings(name, token_file=token_file)
            forwarders.append(Forwarder(settings, server.acknowledgements, lambda: self.holder, self.locate))
            tasks.append(asyncio.create_task(forwarders[0].run()))
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for server in self.servers.values():
                await server.stop()

    async def publish(self, draft):
        for server in self.servers.values():
            await server.publish(draft)

    def served(self, name, draft, resource="http-80"):
        key = (pb.LISTENER, resource)
        return self[name].acknowledgements.tally(key, draft.resources[key].version).served


def test_the_holder_counts_the_nodes_of_the_other_replica(subscribe):
    async def scenario():
        draft = make_draft(80)
        async with Cluster().running() as cluster:
            await cluster.publish(draft)
            async with (
                subscribe(Recorder(), cluster.ports[FIRST], "node-1"),
                subscribe(Recorder(), cluster.ports[SECOND], "node-2"),
            ):
                await until(lambda: cluster.served(FIRST, draft) == ("node-1", "node-2"))
                assert cluster.served(SECOND, draft) == ("node-2",)

    asyncio.run(scenario())


def test_a_new_version_and_a_refusal_follow(subscribe):
    async def scenario():
        before, after = make_draft(80), make_draft(80, 81)
        refusing = Recorder()
        async with Cluster().running() as cluster:
            await cluster.publish(before)
            async with subscribe(refusing, cluster.ports[SECOND], "node-2"):
                await until(lambda: cluster.served(FIRST, before) == ("node-2",))
                key = (pb.LISTENER, "http-81")
                version = after.resources[key].version
                refusing.refuse.append(
                    discovery.Refusal(type=pb.LISTENER, name="http-81", version=version, code="ZS0601")
                )
                await cluster.publish(after)
                tally = cluster[FIRST].acknowledgements.tally
                await until(lambda: [node for node, _ in tally(key, version).refused] == ["node-2"])
                assert cluster.served(FIRST, after) == ("node-2",)

    asyncio.run(scenario())


def test_when_the_lease_changes_hands_the_new_holder_counts(subscribe):
    async def scenario():
        draft = make_draft(80)
        async with Cluster().running() as cluster:
            await cluster.publish(draft)
            async with subscribe(Recorder(), cluster.ports[FIRST], "node-1"):
                await until(lambda: cluster.served(FIRST, draft) == ("node-1",))
                cluster.holder = SECOND
                await until(lambda: cluster.served(SECOND, draft) == ("node-1",))

    asyncio.run(scenario())


def test_a_node_that_leaves_the_other_replica_is_not_counted(subscribe):
    async def scenario():
        draft = make_draft(80)
        async with Cluster().running() as cluster:
            await cluster.publish(draft)
            async with subscribe(Recorder(), cluster.ports[SECOND], "node-2"):
                await until(lambda: cluster.served(FIRST, draft) == ("node-2",))
            await until(lambda: cluster[FIRST].acknowledgements.nodes == ())

    asyncio.run(scenario())


@pytest.mark.parametrize("component", list(Component))
def test_replicas_may_forward_and_nodes_may_not(component, tmp_path):
    (tmp_path / "token").write_text("token")
    reviewed = []

    async def review(token):
        reviewed.append(token)
        return NodeIdentity("node-1", "pod", component)

    async def scenario():
        async with Cluster().running(token_file=tmp_path / "token", reviewer=review) as cluster:
            cluster[SECOND].acknowledgements.open(1, "node-2")
            # A refused replica tries again: by its second review the first one has ended.
            await until(lambda: cluster[FIRST].acknowledgements.nodes or len(reviewed) > 1)
            return [state.node for state in cluster[FIRST].acknowledgements.nodes]

    assert asyncio.run(scenario()) == (["node-2"] if component is Component.OPERATOR else [])

    asyncio.run(scenario())


@pytest.mark.parametrize("held", [(), (80,)])
def test_a_suspended_replica_sends_nothing_and_ends_its_streams(subscribe, held):
    async def scenario():
        server = DiscoveryServer()
        port = await server.start("127.0.0.1:0")
        recorder = Recorder()
        await server.publish(make_draft(80))
        async with subscribe(recorder, port) as subscriber:
            await recorder.until(make_draft(80))
            recorder.held = make_draft(*held)
            await server.suspend()
            await until(lambda: "cut off" in subscriber.state.last_error)
            await server.publish(make_draft(81))
            await asyncio.sleep(0.5)
            assert recorder.applied[-1] == make_draft(80) and not subscriber.state.connected
            await server.resume()
            await recorder.until(make_draft(81))
        await server.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("turns", range(4))
def test_forwarding_ends_when_cancelled_just_as_an_answer_comes(turns):
    async def scenario():
        server = DiscoveryServer()
        port = await server.start("127.0.0.1:0")

        async def locate(_):
            return f"127.0.0.1:{port}"

        forwarder = Forwarder(ForwardingSettings(SECOND), Acknowledgements(), lambda: FIRST, locate)
        task = asyncio.create_task(forwarder.run())
        await asyncio.sleep(0.1)
        forwarder.notice()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=60)
        await server.stop()
        return task.cancelled()

    assert asyncio.run(scenario())
