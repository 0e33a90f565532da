"""What clients may use up: descriptors and patience. Those who behave are served meanwhile and after."""

import asyncio
import contextlib
import http.client
import resource
import socket

import pytest
from ports import free_port
from zeroserve_dataplane.agent.embedding import EmbeddedNode
from zeroserve_dataplane.settings import EmbeddedSettings
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.drafting_sites import draft_sites

DESCRIPTORS = 256
CROWD = 600
PATIENCE_S = 60


@pytest.fixture
def port():
    return free_port()


@pytest.fixture(params=["io_uring", "epoll"])
def settings(request, tmp_path):
    return EmbeddedSettings(workers=2, io=request.param, cache_directory=tmp_path)


@contextlib.contextmanager
def descriptors(limit):
    """Limit what processes that start now may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def answer(port):
    site = f"http://127.0.0.1:{port} {{\n bind 127.0.0.1\n respond served\n}}"
    configuration, _ = read_configuration(site, environment={})
    return draft_sites(configuration).draft


def ask(connection):
    connection.request("GET", "/")
    return connection.getresponse().read()


def crowd_out(port):
    """Open more connections than the engine has descriptors; return what clients of before and after get."""
    before = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    answers = [ask(before)]
    with contextlib.ExitStack() as crowd:
        for _ in range(CROWD):
            crowd.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_S))
        answers.append(ask(before))
    after = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    answers.append(ask(after))
    before.close()
    after.close()
    return answers


def test_a_crowd_takes_no_descriptor_from_those_who_are_served(settings, port):
    async def scenario():
        with descriptors(DESCRIPTORS):
            node = EmbeddedNode(settings)
            await node.__aenter__()
        try:
            await node.apply(answer(port))
            assert await asyncio.to_thread(crowd_out, port) == [b"served"] * 3
            assert node.node.state.engine.restarts == 0
        finally:
            await node.__aexit__(None, None, None)

    asyncio.run(asyncio.wait_for(scenario(), 2 * PATIENCE_S))


def wait_for_the_end(port, sent):
    """Send the beginning of a request and no more; return what came before the server ended it."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        client.sendall(sent)
        received = b""
        while chunk := client.recv(4096):
            received += chunk
        return received


def test_who_does_not_finish_a_head_is_ended_and_holds_up_nobody(settings, port):
    beginnings = (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")

    async def scenario():
        async with EmbeddedNode(settings) as node:
            await node.apply(answer(port))
            waiting = (asyncio.to_thread(wait_for_the_end, port, sent) for sent in beginnings)
            slow = asyncio.gather(*waiting)
            await asyncio.sleep(0.1)
            quick = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
            assert await asyncio.to_thread(ask, quick) == b"served" and not slow.done()
            quick.close()
            for received in await slow:
                assert received == b"" or received.startswith(b"HTTP/1.1 408 ")

    asyncio.run(asyncio.wait_for(scenario(), 2 * PATIENCE_S))
