"""Delta discovery end to end: real gRPC, real deltas, real acknowledgements."""

import asyncio
import datetime
import importlib.util
from pathlib import Path

import pytest
from ports import free_port
from zeroserve_ir._pb import discovery_pb2 as discovery
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_operator.publishing.serving import DiscoveryServer, NodeIdentity, UnauthenticatedError
from zeroserve_operator.publishing.trusting import TrustState

_spec = importlib.util.spec_from_file_location("discovery_rig", Path(__file__).with_name("conftest.py"))
assert _spec is not None
rig = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(rig)
Recorder, make_draft, until = rig.Recorder, rig.make_draft, rig.until


def served_by(server, draft, name):
    key = (pb.LISTENER, name)
    return server.acknowledgements.tally(key, draft.resources[key].version).served


async def start(**options):
    server = DiscoveryServer(**options)
    return server, await server.start("127.0.0.1:0")


def test_a_published_snapshot_reaches_the_agent_and_its_answer_comes_back(subscribe):
    async def scenario():
        server, port = await start()
        recorder = Recorder()
        draft = make_draft(80, 443)
        await server.publish(draft)
        async with subscribe(recorder, port):
            await recorder.until(draft)
            await until(lambda: served_by(server, draft, "http-80") == ("node-1",))
        await server.stop()
        assert recorder.applied == [draft]

    asyncio.run(scenario())


def test_nothing_is_sent_before_the_first_snapshot_is_published(subscribe):
    async def scenario():
        server, port = await start()
        recorder = Recorder()
        async with subscribe(recorder, port):
            await until(lambda: len(server.acknowledgements.nodes) == 1)
            await asyncio.sleep(0.1)
            assert recorder.applied == []
            await server.publish(make_draft(80))
            await recorder.until(make_draft(80))
        await server.stop()

    asyncio.run(scenario())


def test_changed_added_and_removed_resources_follow(subscribe):
    async def scenario():
        server, port = await start()
        recorder = Recorder()
        async with subscribe(recorder, port):
            for draft in (make_draft(80), make_draft(80, 81), make_draft(81), make_draft(), make_draft(82)):
                await server.publish(draft)
                await recorder.until(draft)
        await server.stop()

    asyncio.run(scenario())


def test_an_agent_that_already_holds_the_snapshot_is_told_so_without_resources(subscribe):
    async def scenario():
        server, port = await start()
        draft = make_draft(80, certificate=b"k" * 100_000)
        recorder = Recorder(held=draft)
        await server.publish(draft)
        async with subscribe(recorder, port):
            await recorder.until(draft)
            await until(lambda: served_by(server, draft, "http-80") == ("node-1",))
        await server.stop()

    asyncio.run(scenario())


def test_a_refused_resource_is_counted_as_refused_and_its_neighbours_as_served(subscribe):
    async def scenario():
        server, port = await start()
        draft = make_draft(80, 81)
        bad = draft.resources[pb.LISTENER, "http-80"]
        recorder = Recorder()
        recorder.refuse = [
            discovery.Refusal(
                type=pb.LISTENER, name="http-80", version=bad.version, code="ZS0702", message="taken"
            )
        ]
        await server.publish(draft)
        async with subscribe(recorder, port):
            await until(lambda: served_by(server, draft, "http-81") == ("node-1",))
            tally = server.acknowledgements.tally((pb.LISTENER, "http-80"), bad.version)
            assert tally.served == ()
            assert [(node, refused.code) for node, refused in tally.refused] == [("node-1", "ZS0702")]
            recorder.refuse = []
            await server.publish(make_draft(80, 81, 82))
            await until(lambda: served_by(server, make_draft(82), "http-82") == ("node-1",))
            still = server.acknowledgements.tally((pb.LISTENER, "http-80"), bad.version)
            assert [node for node, _ in still.refused] == ["node-1"]
        await server.stop()

    asyncio.run(scenario())


def test_a_slow_agent_gets_the_newest_state_and_not_a_queue(subscribe):
    async def scenario():
        server, port = await start()
        recorder = Recorder()
        await server.publish(make_draft(80))
        async with subscribe(recorder, port):
            await recorder.until(make_draft(80))
            await until(lambda: served_by(server, make_draft(80), "http-80") == ("node-1",))
            recorder.gate.clear()
            await server.publish(make_draft(81))
            await recorder.until(make_draft(81))
            for port_number in range(82, 120):
                await server.publish(make_draft(port_number))
            recorder.gate.set()
            await recorder.until(make_draft(119))
        await server.stop()
        assert [draft.version for draft in recorder.applied] == [
            make_draft(number).version for number in (80, 81, 119)
        ]

    asyncio.run(scenario())


def test_snapshots_larger_than_a_message_arrive_whole(subscribe):
    async def scenario():
        server, port = await start()
        recorder = Recorder()
        draft = make_draft(*range(1, 20_000), certificate=b"k" * (3 << 20))
        await server.publish(draft)
        async with subscribe(recorder, port):
            await recorder.until(draft)
        await server.stop()

    asyncio.run(scenario())


def test_an_agent_comes_back_to_a_restarted_operator_with_what_it_holds(subscribe):
    async def scenario():
        # No port of the kernel's choice: somebody's connection may have that one meanwhile.
        server, port = DiscoveryServer(), free_port()
        await server.start(f"127.0.0.1:{port}")
        recorder = Recorder()
        await server.publish(make_draft(80))
        async with subscribe(recorder, port) as subscriber:
            await recorder.until(make_draft(80))
            recorder.held = make_draft(80)
            await server.stop()
            second = DiscoveryServer()
            await second.start(f"127.0.0.1:{port}")
            await second.publish(make_draft(80, 81))
            await recorder.until(make_draft(80, 81))
            assert subscriber.state.reconnects >= 1
            await second.stop()

    asyncio.run(scenario())


async def review(token):
    if token != "good":
        raise UnauthenticatedError("unknown token")
    return NodeIdentity(node="node-1", pod="dataplane-x")


@pytest.mark.parametrize(
    ("token", "node", "refused"),
    [("good", "node-1", ""), ("bad", "node-1", "UNAUTHENTICATED"), ("good", "node-2", "PERMISSION_DENIED")],
)
def test_only_the_token_of_a_pod_on_that_node_gets_a_stream(subscribe, tmp_path, token, node, refused):
    async def scenario():
        server = DiscoveryServer(reviewer=review)
        trust = TrustState.create(datetime.datetime.now(datetime.UTC))
        port = await server.start("127.0.0.1:0", trust.issue_leaf(datetime.datetime.now(datetime.UTC)))
        (tmp_path / "token").write_text(token)
        (tmp_path / "ca.crt").write_bytes(trust.bundle_pem)
        recorder = Recorder()
        await server.publish(make_draft(80))
        options = {"ca_file": tmp_path / "ca.crt", "token_file": tmp_path / "token"}
        async with subscribe(recorder, port, node, **options) as subscriber:
            if refused:
                await until(lambda: refused in subscriber.state.last_error)
                assert recorder.applied == []
            else:
                await recorder.until(make_draft(80))
        await server.stop()

    asyncio.run(scenario())


def test_the_certificate_authority_rotates_without_a_dropped_stream(subscribe, tmp_path):
    async def scenario():
        now = datetime.datetime.now(datetime.UTC)
        trust = TrustState.create(now - datetime.timedelta(days=300))
        server = DiscoveryServer(reviewer=review)
        port = await server.start("127.0.0.1:0", trust.issue_leaf(now))
        (tmp_path / "token").write_text("good")
        (tmp_path / "ca.crt").write_bytes(trust.bundle_pem)
        options = {"ca_file": tmp_path / "ca.crt", "token_file": tmp_path / "token"}
        first, second = Recorder(), Recorder()
        await server.publish(make_draft(80))
        async with subscribe(first, port, **options) as subscriber:
            await first.until(make_draft(80))
            announced = trust.rotate(now - datetime.timedelta(days=3))
            promoted = announced.rotate(now)
            assert promoted.active == announced.successor
            server.replace_leaf(promoted.issue_leaf(now))
            (tmp_path / "ca.crt").write_bytes(promoted.active.certificate_pem)
            async with subscribe(second, port, **options):
                await second.until(make_draft(80))
                await server.publish(make_draft(81))
                await first.until(make_draft(81))
                await second.until(make_draft(81))
            assert subscriber.state.reconnects == 0
        await server.stop()

    asyncio.run(scenario())


def test_an_agent_that_does_not_trust_the_authority_sends_no_token(subscribe, tmp_path):
    async def scenario():
        now = datetime.datetime.now(datetime.UTC)
        seen = []

        async def note(token):
            seen.append(token)
            return NodeIdentity("node-1")

        server = DiscoveryServer(reviewer=note)
        port = await server.start("127.0.0.1:0", TrustState.create(now).issue_leaf(now))
        (tmp_path / "token").write_text("good")
        (tmp_path / "ca.crt").write_bytes(TrustState.create(now).bundle_pem)
        options = {"ca_file": tmp_path / "ca.crt", "token_file": tmp_path / "token"}
        async with subscribe(Recorder(), port, **options) as subscriber:
            await until(lambda: "UNAVAILABLE" in subscriber.state.last_error)
        await server.stop()
        assert seen == []

    asyncio.run(scenario())


class Unasked:
    """An agent that holds so much that only an operator who is there is told of it."""

    @property
    def held(self):
        raise AssertionError("nobody is there to be told")

    async def apply(self, draft):
        raise AssertionError("nobody is there to tell")


def test_while_the_operator_is_away_nothing_is_made_of_what_is_held(subscribe):
    async def scenario():
        async with subscribe(Unasked(), free_port()) as subscriber:
            await until(lambda: subscriber.state.reconnects >= 2)
            assert "UNAVAILABLE" in subscriber.state.last_error

    asyncio.run(scenario())


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "10.0.0.1:0", ":0"])
def test_without_tls_and_token_review_only_loopback_is_served(address):
    async def scenario():
        with pytest.raises(ValueError, match="only loopback"):
            await DiscoveryServer().start(address)

    asyncio.run(scenario())
