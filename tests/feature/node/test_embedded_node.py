"""A node in one process with the real engine: from a Caddyfile to answers, through changes and failures.

Needs the engine's binary (`make setup`, or ZEROSERVE_ENGINE); without it these tests fail.
"""

import asyncio
import contextlib
import http.client
import os
import signal
import socket
import urllib.request
from pathlib import Path

import pytest
from ports import free_port
from zeroserve_dataplane.agent.embedding import EmbeddedNode
from zeroserve_dataplane.settings import EmbeddedSettings
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.drafting import SnapshotDraft, digest_payload, make_resource
from zeroserve_ir.drafting_sites import draft_sites

PATIENCE_S = 60


@pytest.fixture
def port():
    return free_port()


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(params=["io_uring", "epoll"])
def settings(request, cache):
    return EmbeddedSettings(workers=2, io=request.param, cache_directory=cache, metrics_port=0)


def draft(text):
    configuration, diagnostics = read_configuration(text, environment={})
    assert not diagnostics
    drafted = draft_sites(configuration)
    assert not drafted.diagnostics
    return drafted.draft


def answer(port, body):
    return draft(f"http://127.0.0.1:{port} {{\n bind 127.0.0.1\n respond {body}\n}}")


async def get(port, path="/"):
    def fetch():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()

    return await asyncio.to_thread(fetch)


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario, 240))


def test_a_site_answers_as_soon_as_it_is_applied(settings, port):
    async def scenario():
        async with EmbeddedNode(settings) as node:
            outcome = await node.apply(answer(port, "hello"))
            assert outcome.refusals == ()
            assert await get(port) == (200, "hello")
            assert node.describe()["ready"]

    run(scenario())


def test_a_change_is_served_when_apply_returns(settings, port):
    async def scenario():
        async with EmbeddedNode(settings) as node:
            for number in range(20):
                await node.apply(answer(port, f"answer-{number}"))
                assert await get(port) == (200, f"answer-{number}")

    run(scenario())


def test_native_images_serve_and_become_better_without_a_change_of_answers(settings, port):
    async def scenario():
        async with EmbeddedNode(settings) as node:
            await node.apply(answer(port, "hello"))
            assert await node.node.optimise() >= 1
            assert await get(port) == (200, "hello")
            assert node.describe()["images"]["interpreted"] == 0
            url = f"http://127.0.0.1:{node.metrics.port}/metrics"
            text = (await asyncio.to_thread(urllib.request.urlopen, url)).read().decode()
            executions = 'zeroserve_engine_program_executions_total{mode="native"}'
            (line,) = [line for line in text.splitlines() if line.startswith(executions)]
            assert float(line.split()[-1]) >= 1

    run(scenario())


def test_programs_are_optimised_by_themselves_when_changes_have_ended(settings, port):
    async def scenario():
        async with EmbeddedNode(settings) as node:
            for number in range(3):
                await node.apply(answer(port, f"answer-{number}"))
            while node.describe()["images"]["fast"]:
                await asyncio.sleep(0.1)
            assert node.describe()["images"]["optimised"] >= 1
            assert await get(port) == (200, "answer-2")

    run(scenario())


def test_a_refused_program_keeps_the_last_good_answer(settings, port):
    async def scenario():
        async with EmbeddedNode(settings) as node:
            good = answer(port, "good")
            await node.apply(good)
            code = bytes.fromhex("85000000630000009500000000000000")
            bad = pb.Program(name=digest_payload(code), code=code, abi=1)
            hosts = [one for key, one in good.resources.items() if key[0] == pb.VIRTUAL_HOST]
            host = pb.VirtualHost.FromString(hosts[0].payload)
            host.program = bad.name
            broken = SnapshotDraft.of([*good.resources.values(), make_resource(bad), make_resource(host)])
            outcome = await node.apply(broken)
            assert "ZS0601" in {one.code.name for one in outcome.diagnostics}
            assert await get(port) == (200, "good")

    run(scenario())


def test_a_host_that_never_had_a_good_program_is_closed(settings, port):
    async def scenario():
        async with EmbeddedNode(settings) as node:
            code = bytes.fromhex("85000000630000009500000000000000")
            bad = pb.Program(name=digest_payload(code), code=code, abi=1)
            listener = pb.Listener(name="http", address="127.0.0.1", port=port)
            host = pb.VirtualHost(name="any", hosts=[""], listeners=["http"], program=bad.name)
            await node.apply(SnapshotDraft.of(make_resource(one) for one in (bad, listener, host)))
            assert (await get(port))[0] == 503

    run(scenario())


def test_a_taken_port_is_told_and_the_other_listeners_serve(settings, port):
    async def scenario():
        with socket.socket() as stranger:
            stranger.bind(("127.0.0.1", 0))
            stranger.listen()
            taken = stranger.getsockname()[1]
            async with EmbeddedNode(settings) as node:
                sites = (
                    f"http://127.0.0.1:{one} {{\n bind 127.0.0.1\n respond ok\n}}" for one in (port, taken)
                )
                outcome = await node.apply(draft("\n".join(sites)))
                assert [refusal.key[0] for refusal in outcome.refusals] == [pb.LISTENER]
                assert await get(port) == (200, "ok")

    run(scenario())


def test_engines_bear_their_name_in_lists_of_processes(settings, port):
    async def scenario():
        async with EmbeddedNode(settings) as node:
            await node.apply(answer(port, "hello"))
            return Path(f"/proc/{node.node.state.engine.pid}/comm").read_text().strip()

    assert asyncio.run(scenario()) == "zeroserve-engin"


def test_a_killed_engine_is_replaced_with_what_it_served(settings, port):
    async def scenario():
        async with EmbeddedNode(settings) as node:
            await node.apply(answer(port, "hello"))
            before = node.node.state.engine.pid
            os.kill(before, signal.SIGKILL)
            while node.node.state.engine.pid == before or not node.node.state.engine.running:
                await asyncio.sleep(0.01)
            assert await get(port) == (200, "hello")

    run(scenario())


def test_a_killed_supervisor_is_replaced_and_fed_again(settings, port):
    async def scenario():
        async with EmbeddedNode(settings) as node:
            await node.apply(answer(port, "hello"))
            commits = node.node.state.commits
            node._child.kill()
            while node.node.state.commits == commits:
                await asyncio.sleep(0.01)
            assert await get(port) == (200, "hello")

    run(scenario())


def test_nothing_is_left_behind(settings, port):
    async def scenario():
        async with EmbeddedNode(settings) as node:
            await node.apply(answer(port, "hello"))
            supervisor, engine = node._child.pid, node.node.state.engine.pid
            directory = node.node.socket.parent
        for process in (supervisor, engine):
            with pytest.raises(ProcessLookupError):
                os.kill(process, 0)
        assert not directory.exists()
        with pytest.raises(ConnectionRefusedError):
            # The kernel ends an io_uring after its process: until then a connection is reset.
            while True:
                with contextlib.suppress(ConnectionResetError):
                    await get(port)
                await asyncio.sleep(0.01)

    run(scenario())
