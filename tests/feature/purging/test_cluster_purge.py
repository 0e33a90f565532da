"""A purge of a cluster: from its object to the engines of two nodes, and of one that was away meanwhile."""

import asyncio
import contextlib
import http.client
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ports import free_port
from threads import served
from zeroserve_dataplane.agent.embedding import EmbeddedNode
from zeroserve_dataplane.settings import EmbeddedSettings
from zeroserve_dataplane.subscribing import Subscriber, SubscribingSettings
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import SnapshotDraft, make_resource
from zeroserve_operator.building.model import Builder
from zeroserve_operator.publishing.serving import DiscoveryServer
from zeroserve_operator.resources.objects import Kind, identify
from zeroserve_operator.settings import BuildSettings
from zeroserve_operator.store import Store

SETTINGS = BuildSettings(claim_all=True, local=True)
TENANTS = ("shop", "blog")


class Origin(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Cache-Control", "max-age=600")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


@pytest.fixture
def origin():
    with served(ThreadingHTTPServer(("127.0.0.1", 0), Origin)) as server:
        yield server.server_address[1]


def objects_of(namespace, port):
    named = {"namespace": namespace}
    labels = {"kubernetes.io/service-name": "web"}
    return [
        {
            "kind": "ZeroserveRoute",
            "metadata": {"name": "web", **named},
            "spec": {"hosts": [f"{namespace}.example"], "caddyfile": "cache\nreverse_proxy web:80\n"},
        },
        {"kind": "Service", "metadata": {"name": "web", **named}, "spec": {"ports": [{"port": 80}]}},
        {
            "kind": "EndpointSlice",
            "metadata": {"name": "web-1", **named, "labels": labels},
            "addressType": "IPv4",
            "ports": [{"port": port}],
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
        },
    ]


class Cluster:
    """The operator's way from objects to nodes, without an API server."""

    def __init__(self):
        self.store, self.builder, self.server = Store(SETTINGS), Builder(SETTINGS), DiscoveryServer()

    async def take(self, *objects):
        for raw in objects:
            key = identify(Kind(raw["kind"]), raw)
            assert self.store.put(key, raw)[0].diagnostics == ()
        self.draft = self.builder.build(self.store, datetime(2026, 11, 22, tzinfo=UTC)).draft
        await self.server.publish(self.draft)

    async def purge(self, name, namespace, target):
        await self.take(
            {
                "kind": "ZeroserveCachePurge",
                "metadata": {"name": name, "namespace": namespace, "uid": name},
                "spec": {"targets": [target]},
            }
        )

    async def until_done(self, nodes):
        """Wait until so many nodes serve all, with every purge done."""
        tally = self.server.acknowledgements.tally
        async with asyncio.timeout(60):
            while not all(
                len(tally(key, one.version).served) == nodes for key, one in self.draft.resources.items()
            ):
                await asyncio.sleep(0.01)


class ClusterNode:
    """A node with ports of its own: all nodes of the test are on one machine."""

    def __init__(self, name, embedded):
        self.name, self.port, self.embedded = name, free_port(), embedded
        self.held = SnapshotDraft.of([])

    async def apply(self, draft):
        listener = make_resource(pb.Listener(name="http", address="127.0.0.1", port=self.port))
        others = [one for key, one in draft.resources.items() if key[0] != pb.LISTENER]
        outcome = await self.embedded.apply(SnapshotDraft.of([listener, *others]))
        assert outcome.refusals == ()
        self.held = draft
        return []

    @contextlib.asynccontextmanager
    async def following(self, port):
        settings = SubscribingSettings(f"127.0.0.1:{port}", self.name, "test", "x86_64")
        task = asyncio.create_task(Subscriber(settings, lambda: self.held, self.apply).run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def finds_kept(self, tenant):
        """Ask for the tenant's answer; whether it was kept."""

        def fetch():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            with contextlib.closing(connection):
                connection.request("GET", "/news/1", headers={"Host": f"{tenant}.example"})
                answer = connection.getresponse()
                assert answer.read() == b"ok"
                return "; hit" in answer.getheader("Cache-Status")

        return await asyncio.to_thread(fetch)


def test_every_node_forgets_what_is_the_namespaces_and_nothing_else(origin, tmp_path):
    async def scenario():
        cluster, settings = Cluster(), EmbeddedSettings(workers=1, cache_directory=tmp_path, metrics_port=-1)
        port = await cluster.server.start("127.0.0.1:0")
        async with EmbeddedNode(settings) as first, EmbeddedNode(settings) as second:
            nodes = [ClusterNode("one", first), ClusterNode("two", second)]
            await cluster.take(*(item for tenant in TENANTS for item in objects_of(tenant, origin)))
            async with nodes[0].following(port):
                async with nodes[1].following(port):
                    await cluster.until_done(2)
                    for node in nodes:
                        assert [await node.finds_kept(tenant) for tenant in TENANTS] == [False, False]
                        assert [await node.finds_kept(tenant) for tenant in TENANTS] == [True, True]
                    # Another tenant's purge of the same URL is nobody else's.
                    await cluster.purge("foreign", "blog", "http://shop.example/*")
                    await cluster.until_done(2)
                    assert [await node.finds_kept("shop") for node in nodes] == [True, True]
                    await cluster.purge("own", "shop", "http://shop.example/news/*")
                    await cluster.until_done(2)
                    for node in nodes:
                        assert [await node.finds_kept(tenant) for tenant in TENANTS] == [False, True]
                await cluster.purge("all", "blog", "*")
                await cluster.until_done(1)
                assert [await node.finds_kept("blog") for node in nodes] == [False, True]
                async with nodes[1].following(port):
                    await cluster.until_done(2)
                    assert [await node.finds_kept("blog") for node in nodes] == [True, False]
        await cluster.server.stop()

    asyncio.run(asyncio.wait_for(scenario(), 240))
