"""Dynamic upstreams, asked of a DNS server on this machine."""

import asyncio
import contextlib

import dns.asyncresolver
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
from zeroserve_dataplane.agent import discovering, looking_up
from zeroserve_dataplane.agent.discovering import SourceResolver
from zeroserve_dataplane.agent.resolving import Resolver
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import make_resource

ZONE = {
    ("api.test.", "A"): ["192.0.2.1", "192.0.2.2"],
    ("api.test.", "AAAA"): ["2001:db8::1"],
    ("_http._tcp.shop.test.", "SRV"): ["20 1 9002 b.test.", "10 5 9001 a.test."],
    ("a.test.", "A"): ["192.0.2.11"],
    ("b.test.", "A"): ["192.0.2.12"],
}


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """No answer is late on a machine that stands still."""
    monkeypatch.setattr(looking_up, "TIMEOUT_S", 60.0)
    monkeypatch.setattr(looking_up, "ATTEMPT_TIMEOUT_S", 60.0)
    monkeypatch.setattr(discovering, "TIMEOUT_S", 120.0)


class Server(asyncio.DatagramProtocol):
    """Answers from `zone`; SERVFAIL to everything while it is None, and to what is in `failing`."""

    def __init__(self):
        self.zone = ZONE
        self.failing = set()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        query = dns.message.from_wire(data)
        reply = dns.message.make_response(query)
        question = query.question[0]
        kind = dns.rdatatype.to_text(question.rdtype)
        if self.zone is None or (question.name.to_text(), kind) in self.failing:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif not any(name == question.name.to_text() for name, _ in self.zone):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif records := self.zone.get((question.name.to_text(), kind)):
            reply.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", kind, records))
        self.transport.sendto(reply.to_wire(), address)


@contextlib.asynccontextmanager
async def serve_dns():
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        Server, local_addr=("127.0.0.1", 0)
    )
    server.port = transport.get_extra_info("sockname")[1]
    try:
        yield server
    finally:
        transport.close()


def source(server, **fields):
    defaults = {"name": "api.test", "port": 80, "refresh_ms": 60_000, "ipv4": True, "ipv6": True}
    return pb.UpstreamSource(resolvers=[f"127.0.0.1:{server.port}"], **(defaults | fields))


@pytest.mark.parametrize(
    ("fields", "addresses"),
    [
        ({}, {"192.0.2.1", "192.0.2.2", "2001:db8::1"}),
        ({"ipv6": False}, {"192.0.2.1", "192.0.2.2"}),
        ({"ipv4": False}, {"2001:db8::1"}),
        ({"name": "192.0.2.99"}, {"192.0.2.99"}),
        ({"name": "absent.test"}, set()),
    ],
)
def test_address_records_are_endpoints_at_the_port(fields, addresses):
    async def run():
        async with serve_dns() as server:
            asked = source(server, **fields)
            resolver = SourceResolver()
            await resolver.ensure([asked])
            return resolver.find(asked)

    found = asyncio.run(run())
    assert {address for address, _, _ in found} == addresses
    assert {port for _, port, _ in found} <= {80}


def test_service_records_name_hosts_and_ports_by_priority():
    async def run():
        async with serve_dns() as server:
            asked = source(server, kind=pb.UpstreamSource.SRV, name="_http._tcp.shop.test", ipv6=False)
            resolver = SourceResolver()
            await resolver.ensure([asked])
            return resolver.find(asked)

    assert asyncio.run(run()) == (("192.0.2.11", 9001, "a.test"), ("192.0.2.12", 9002, "b.test"))


@pytest.mark.parametrize(("failing", "kept"), [("AAAA", "192.0.2.1"), ("A", "2001:db8::1")])
def test_a_family_of_addresses_that_fails_costs_the_other_nothing(failing, kept):
    async def run():
        async with serve_dns() as server:
            server.failing = {("api.test.", failing)}
            asked = source(server)
            resolver = SourceResolver()
            await resolver.ensure([asked])
            return resolver.find(asked)

    assert kept in {address for address, _, _ in asyncio.run(run())}


@pytest.mark.parametrize("failing", [set(), {("gone.test.", "A")}], ids=["no such name", "no answer"])
def test_a_service_whose_host_is_gone_costs_the_others_nothing(failing):
    async def run():
        async with serve_dns() as server:
            service = ("_http._tcp.shop.test.", "SRV")
            server.zone = ZONE | {service: ["1 1 9000 gone.test.", *ZONE[service], "30 1 9003 192.0.2.13."]}
            server.failing = failing
            asked = source(server, kind=pb.UpstreamSource.SRV, name="_http._tcp.shop.test", ipv6=False)
            resolver = SourceResolver()
            await resolver.ensure([asked])
            return resolver.find(asked)

    ports = [port for _, port, _ in asyncio.run(run())]
    assert ports == [9001, 9002, 9003]


def test_a_resolver_may_be_named_and_one_that_is_nowhere_costs_the_others_nothing():
    async def run():
        async with serve_dns() as server:
            asked = source(server)
            asked.resolvers[:] = [f"localhost:{server.port}", "192.0.2.1:99999", "no resolver"]
            resolver = SourceResolver()
            await resolver.ensure([asked])
            nowhere = source(server)
            nowhere.resolvers[:] = ["192.0.2.1:99999"]
            await resolver.ensure([nowhere])
            return resolver.find(asked), resolver.find(nowhere)

    found, nothing = asyncio.run(run())
    assert len(found) == 3 and nothing == ()


def test_an_address_where_nobody_is_costs_the_others_nothing():
    async def run():
        async with serve_dns() as server:
            server.zone = ZONE | {("api.test.", "AAAA"): ["100::1", "2001:db8::1"]}
            asked = source(server)
            resolver = SourceResolver()
            await resolver.ensure([asked])
            return {address for address, _, _ in resolver.find(asked)}

    assert asyncio.run(run()) == {"192.0.2.1", "192.0.2.2", "2001:db8::1"}


def test_names_are_searched_for_as_the_system_does(monkeypatch):
    class Searching(dns.asyncresolver.Resolver):
        def read_resolv_conf(self, _):
            self.search = [dns.name.from_text("shop.test.")]

    monkeypatch.setattr(dns.asyncresolver, "Resolver", Searching)

    async def run():
        async with serve_dns() as server:
            asked = source(server, kind=pb.UpstreamSource.SRV, name="_http._tcp", ipv6=False)
            resolver = SourceResolver()
            await resolver.ensure([asked])
            return resolver.find(asked)

    assert [port for _, port, _ in asyncio.run(run())] == [9001, 9002]


def test_a_source_that_had_no_answer_is_asked_again_before_its_refresh_time():
    async def run():
        async with serve_dns() as server:
            now = [0.0]
            asked = source(server, ipv6=False)
            resolver = SourceResolver()
            resolver.clock = lambda: now[0]
            server.zone = None
            await resolver.ensure([asked])
            server.zone = ZONE
            now[0] = 10.0
            assert await resolver.refresh([asked])
            server.zone = ZONE | {("api.test.", "A"): ["192.0.2.7"]}
            now[0] = 20.0
            assert not await resolver.refresh([asked])

    asyncio.run(run())


def test_a_failing_lookup_keeps_what_was_found_for_the_grace_period():
    async def run():
        async with serve_dns() as server:
            now = [0.0]
            kept, limited = source(server), source(server, grace_ms=5_000)
            resolver = SourceResolver()
            resolver.clock = lambda: now[0]
            await resolver.ensure([kept, limited])
            server.zone = None
            now[0] = 62.0
            assert not await resolver.refresh([kept, limited])
            now[0] = 200.0
            changed = await resolver.refresh([kept, limited])
            return changed, resolver.find(kept), resolver.find(limited)

    changed, kept, limited = asyncio.run(run())
    assert len(kept) == 3 and limited == ()
    assert not changed, "the endpoints had ended before this look"


def test_a_change_is_noticed_when_the_refresh_time_has_come():
    async def run():
        async with serve_dns() as server:
            now = [0.0]
            asked = source(server, ipv6=False)
            resolver = SourceResolver()
            resolver.clock = lambda: now[0]
            await resolver.ensure([asked])
            server.zone = ZONE | {("api.test.", "A"): ["192.0.2.7"]}
            now[0] = 59.0
            assert not await resolver.refresh([asked])
            now[0] = 61.0
            assert await resolver.refresh([asked])
            return resolver.find(asked)

    assert asyncio.run(run()) == (("192.0.2.7", 80, "api.test"),)


def test_endpoints_are_those_of_the_source_else_the_static_ones():
    async def run():
        async with serve_dns() as server:
            resource = make_resource(
                pb.Endpoints(
                    name="e",
                    endpoints=[pb.Endpoint(address="192.0.2.50", port=81)],
                    sources=[source(server, ipv6=False)],
                )
            )
            resolver = Resolver()
            before = pb.Endpoints.FromString(resolver.resolve(resource).payload)
            await resolver.ensure([resource])
            return before, pb.Endpoints.FromString(resolver.resolve(resource).payload)

    before, after = asyncio.run(run())
    assert [one.address for one in before.endpoints] == ["192.0.2.50"]
    assert [one.address for one in after.endpoints] == ["192.0.2.1", "192.0.2.2"]
    assert {one.name for one in after.endpoints} == {"api.test"} and not after.sources
