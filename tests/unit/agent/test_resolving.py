"""Names of upstreams: literals for the engine, shares kept, failures survived."""

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from zeroserve_dataplane.agent import resolving
from zeroserve_dataplane.agent.resolving import Resolver
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import make_resource


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """No answer is late on a machine that stands still."""
    monkeypatch.setattr(resolving, "TIMEOUT_S", 60.0)


@pytest.fixture
def resolver(monkeypatch):
    """A resolver whose system knows `names`."""
    names = {"one": ["10.0.0.1", "100::1"], "two": ["10.0.0.2", "10.0.0.3", "fd00::1"]}

    def getaddrinfo(name, *_, **__):
        if name not in names:
            raise OSError(-2, "Name or service not known")
        return [(None, None, None, "", (address, 0)) for address in names[name]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names


def endpoints(*addresses, name="e"):
    return make_resource(
        pb.Endpoints(name=name, endpoints=[pb.Endpoint(address=one, port=80) for one in addresses])
    )


def resolve(resource, resolver):
    message = pb.Endpoints.FromString(resolver.resolve(resource).payload)
    return [(one.address, one.weight) for one in message.endpoints]


def test_literals_are_left_as_they_are():
    resource = endpoints("10.0.0.9", "fd00::9")
    assert Resolver().resolve(resource) is resource


def test_each_name_keeps_its_share_whatever_the_number_of_its_addresses(resolver):
    async def scenario():
        subject, resource = Resolver(), endpoints("one", "two", "10.9.9.9")
        await subject.ensure([resource])
        assert resolve(resource, subject) == [
            ("10.0.0.1", 3),
            ("10.0.0.2", 1),
            ("10.0.0.3", 1),
            ("fd00::1", 1),
            ("10.9.9.9", 3),
        ]

    asyncio.run(scenario())


def test_a_name_that_cannot_be_resolved_has_no_endpoints(resolver):
    async def scenario():
        subject, resource = Resolver(), endpoints("unknown", "one")
        await subject.ensure([resource])
        assert resolve(resource, subject) == [("10.0.0.1", 1)]

    asyncio.run(scenario())


def test_a_written_upstream_without_addresses_is_tried_in_vain(resolver):
    async def scenario():
        subject, resource = Resolver(), endpoints("unknown", name="static:unknown:80")
        await subject.ensure([resource])
        assert resolve(resource, subject) == [("255.255.255.255", 1)]

    asyncio.run(scenario())


def test_a_name_that_cannot_be_resolved_any_more_keeps_its_addresses(resolver):
    async def scenario():
        subject, resource = Resolver(), endpoints("one")
        await subject.ensure([resource])
        del resolver["one"]
        assert not await subject.refresh([resource])
        assert resolve(resource, subject) == [("10.0.0.1", 1)]

    asyncio.run(scenario())


def test_a_refresh_says_whether_an_address_changed(resolver):
    async def scenario():
        subject, resource = Resolver(), endpoints("one")
        await subject.ensure([resource])
        assert not await subject.refresh([resource])
        resolver["one"] = ["10.0.0.7"]
        assert await subject.refresh([resource])
        assert resolve(resource, subject) == [("10.0.0.7", 1)]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("zone", "elsewhere"), [("", [False] * 3), ("a", [False, True, False]), ("c", [True, True, False])]
)
def test_endpoints_hinted_to_other_zones_are_elsewhere(zone, elsewhere):
    hints = {"10.0.0.1": ["a"], "10.0.0.2": ["b"], "10.0.0.3": []}
    message = pb.Endpoints(name="e")
    for address, zones in hints.items():
        message.endpoints.add(address=address, port=80, zones=zones)
    resolved = pb.Endpoints.FromString(Resolver(zone).resolve(make_resource(message)).payload)
    assert [one.elsewhere for one in resolved.endpoints] == elsewhere
    assert not any(one.zones for one in resolved.endpoints)


def test_names_that_nobody_answers_for_hold_up_no_other_work(monkeypatch):
    asked, answering = threading.Event(), threading.Event()

    def getaddrinfo(name, *_, **__):
        asked.set()
        answering.wait()
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    async def scenario():
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        subject = Resolver()
        looking = asyncio.create_task(subject.ensure([endpoints(*(f"silent{n}" for n in range(64)))]))
        while not asked.is_set():
            await asyncio.sleep(0.01)
        try:
            assert await asyncio.wait_for(asyncio.to_thread(lambda: "done"), 60) == "done"
        finally:
            answering.set()
            await looking

    asyncio.run(scenario())
