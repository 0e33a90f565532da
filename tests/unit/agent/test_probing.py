"""Active health: probes of real servers on this machine, judged as Caddy judges them."""

import asyncio
import os
import socket
import ssl

import grpc
import grpc.aio
import pytest
from signing import Authority, key_pem, pem
from threads import Listener
from zeroserve_dataplane.agent import probing
from zeroserve_dataplane.agent.probing import (
    PROBES_AT_ONCE_MAX,
    TENANT_PROBES_AT_ONCE_MAX,
    Prober,
    join_address,
)
from zeroserve_dataplane.agent.requesting import Place, UnhealthyError, encode_request, probe
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import make_resource

NEVER_MS = 600_000
"""Longer than any test."""
GRPC_SERVING, GRPC_NOT_SERVING = b"\x08\x01", b"\x08\x02"


def health(**fields):
    # No probe is late on a machine that stands still.
    fields = {"timeout_ms": 60_000} | fields
    defaults = {"uri": "/up", "method": "GET", "interval_ms": 20, "passes": 1, "fails": 1}
    return pb.ActiveHealth(**(defaults | fields))


class Backend:
    """Answers with what `answer` is at the time, and keeps what it was asked."""

    def __init__(self, answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"):
        self.answer = answer
        self.asked = []
        self.closes = True

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def _serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head)
        writer.write(self.answer(head) if callable(self.answer) else self.answer)
        if self.closes:
            writer.close()

    @property
    def place(self):
        return Place("127.0.0.1", self.port, f"127.0.0.1:{self.port}")


def status(code):
    return f"HTTP/1.1 {code} Text\r\nContent-Length: 5\r\n\r\nready".encode()


@pytest.mark.parametrize(
    ("code", "fields", "healthy"),
    [
        (200, {}, True),
        (302, {}, False),
        (302, {"status": 3}, True),
        (404, {}, False),
        (500, {}, False),
        (404, {"status": 404}, True),
        (204, {"status": 2}, True),
        (200, {"status": 204}, False),
        (200, {"body_regexp": "^read"}, True),
        (200, {"body_regexp": "^no"}, False),
        # RE2's syntax, which Python's own patterns do not have, and its linear time.
        (200, {"body_regexp": r"^\pL+\z"}, True),
        (200, {"body_regexp": r"\Q.\E"}, False),
    ],
)
def test_an_answer_is_judged_by_status_and_body(code, fields, healthy):
    async def run():
        async with Backend(status(code)) as backend:
            await probe(health(**fields), backend.place)

    if healthy:
        asyncio.run(run())
    else:
        with pytest.raises(UnhealthyError):
            asyncio.run(run())


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 xyz\r\n\r\n", b"\0" * 100_000])
def test_what_is_no_answer_is_unhealthy(answer):
    async def run():
        async with Backend(answer) as backend:
            await probe(health(), backend.place)

    with pytest.raises(UnhealthyError):
        asyncio.run(run())


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nrea\r\n2\r\ndy\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        status(200),
        CHUNKED,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + status(200),
        status(200).replace(b"\r\n", b"\n"),
    ],
    ids=["length", "chunks", "interim answers", "bare line feeds"],
)
def test_a_body_ends_where_it_says_and_not_with_the_connection(answer):
    async def run():
        async with Backend(answer) as backend:
            backend.closes = False
            await probe(health(body_regexp="^ready$"), backend.place)

    asyncio.run(run())


@pytest.mark.parametrize(
    "answer", [CHUNKED.replace(b"3;x=y", b"zz"), b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"]
)
def test_what_is_cut_off_or_malformed_is_unhealthy(answer):
    async def run():
        async with Backend(answer) as backend:
            await probe(health(body_regexp="ready"), backend.place)

    with pytest.raises(UnhealthyError):
        asyncio.run(run())


def test_the_request_is_as_configured():
    async def run():
        async with Backend() as backend:
            fields = [pb.KeyValue(key="Host", values=["h"]), pb.KeyValue(key="X-A", values=["1", "2"])]
            await probe(health(method="POST", body="ping", headers=fields), backend.place)
            return backend.asked[0]

    asked = asyncio.run(run())
    assert asked.startswith(b"POST /up HTTP/1.1\r\n")
    assert b"Host: h\r\n" in asked and b"X-A: 1\r\nX-A: 2\r\n" in asked and b"Content-Length: 4\r\n" in asked


def test_a_field_cannot_break_out_of_its_line():
    fields = [pb.KeyValue(key="X", values=["a\r\nEvil: b"])]
    with pytest.raises(ValueError, match="line break"):
        encode_request(health(headers=fields), "h", "/")


def test_redirects_are_followed_on_the_same_host_only():
    def answer(head):
        if head.startswith(b"GET /up "):
            return b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n"
        return status(200 if head.startswith(b"GET /there ") else 500)

    async def run(one):
        async with Backend(one) as backend:
            await probe(health(follow_redirects=True), backend.place)

    asyncio.run(run(answer))
    with pytest.raises(UnhealthyError, match="another host"):
        asyncio.run(run(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n"))
    with pytest.raises(UnhealthyError, match="without end"):
        asyncio.run(run(b"HTTP/1.1 302 Found\r\nLocation: /up\r\n\r\n"))


@pytest.mark.parametrize("name", ["a.sock", "@zeroserve-probed"], ids=["path", "abstract name"])
def test_a_socket_of_this_machine_is_probed_and_known_by_its_name(tmp_path, name):
    address = f"{name}-{os.getpid()}" if name.startswith("@") else str(tmp_path / name)
    asked = []

    async def serve(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(status(500))
        writer.close()

    async def run():
        path = address.replace("@", "\0")
        async with await asyncio.start_unix_server(serve, path), asyncio.timeout(60):
            endpoint = pb.Endpoint(address=address, name="as it was written")
            endpoints = make_resource(pb.Endpoints(name="e", endpoints=[endpoint]))
            cluster = make_resource(pb.Cluster(name="c", endpoints="e", active_health=health()))
            prober = Prober()
            prober.watch([cluster], {"e": endpoints}.get)
            await prober.changed.wait()
            prober.close()
            return list(pb.Cluster.FromString(prober.render(cluster).payload).down)

    assert asyncio.run(run()) == [address]
    assert b"\r\nHost: localhost\r\n" in asked[0]


def test_a_socket_has_no_port_of_its_own_for_probes():
    """Nobody knows its health then, as with stock Caddy."""
    cluster = pb.Cluster(name="c", endpoints="e", active_health=health(port=80))
    endpoints = make_resource(pb.Endpoints(name="e", endpoints=[pb.Endpoint(address="/a.sock")]))
    assert list(Prober()._find_targets(cluster, endpoints)) == []


def test_tcp_asks_for_a_connection_alone():
    async def run():
        async with Backend() as backend:
            await probe(health(protocol=pb.ActiveHealth.TCP), backend.place)
            place = backend.place
        with pytest.raises(UnhealthyError):
            await probe(health(protocol=pb.ActiveHealth.TCP), place)

    asyncio.run(run())


@pytest.mark.parametrize(("answer", "healthy"), [(GRPC_SERVING, True), (GRPC_NOT_SERVING, False)])
def test_grpc_asks_the_health_service(answer, healthy):
    async def run():
        async def check(_request, _context):
            return answer

        server = grpc.aio.server()
        method = grpc.unary_unary_rpc_method_handler(check)
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method})]
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            await probe(health(protocol=pb.ActiveHealth.GRPC), Place("127.0.0.1", port, f"127.0.0.1:{port}"))
        finally:
            await server.stop(None)

    if healthy:
        asyncio.run(run())
    else:
        with pytest.raises(UnhealthyError, match="not SERVING"):
            asyncio.run(run())


def test_an_endpoint_goes_down_after_fails_and_comes_back_after_passes():
    async def run():
        async with Backend() as backend:
            cluster = make_resource(
                pb.Cluster(name="c", endpoints="e", active_health=health(fails=2, passes=2))
            )
            endpoints = make_resource(
                pb.Endpoints(name="e", endpoints=[pb.Endpoint(address="127.0.0.1", port=backend.port)])
            )
            prober = Prober()
            prober.watch([cluster], {"e": endpoints}.get)
            assert prober.render(cluster) is cluster
            backend.answer = status(500)
            await asyncio.wait_for(prober.changed.wait(), 60)
            down = pb.Cluster.FromString(prober.render(cluster).payload).down
            asked = len(backend.asked)
            prober.changed.clear()
            backend.answer = status(200)
            await asyncio.wait_for(prober.changed.wait(), 60)
            assert len(backend.asked) >= asked + 2
            assert prober.render(cluster) is cluster
            prober.close()
            return list(down), backend.port

    down, port = asyncio.run(run())
    assert down == [f"127.0.0.1:{port}"]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize(
    ("version", "header"),
    [(1, b"PROXY UNKNOWN\r\n"), (2, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0")],
    ids=["version 1", "version 2"],
)
def test_a_probe_begins_with_a_header_where_requests_do(version, header, secure, server_context):
    asked = []

    def serve(connection):
        with connection:
            asked.append(connection.recv(len(header), socket.MSG_WAITALL))
            speaking = server_context.wrap_socket(connection, server_side=True) if secure else connection
            asked.append(speaking.recv(1000).partition(b"\n")[0])
            speaking.sendall(status(200))
            speaking.close()

    async def run(port):
        endpoint = pb.Endpoint(address="127.0.0.1", port=port)
        cluster = pb.Cluster(name="c", endpoints="e", active_health=health(), proxy_protocol=version)
        if secure:
            cluster.tls.insecure_skip_verify = True
        endpoints = make_resource(pb.Endpoints(name="e", endpoints=[endpoint]))
        [target] = Prober()._find_targets(cluster, endpoints)
        await probe(cluster.active_health, target.place)

    listener = Listener(serve)
    try:
        asyncio.run(run(listener.port))
    finally:
        listener.close()
    assert asked == [header, b"GET /up HTTP/1.1\r"]


@pytest.fixture(scope="module")
def server_context(tmp_path_factory):
    authority = Authority("an authority")
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(pem(authority.certificate) + key_pem(authority.key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def cluster_of(namespace, ports, **fields):
    name = f"{namespace}/web:80"
    found = pb.Endpoints(name=name, endpoints=[pb.Endpoint(address="127.0.0.1", port=one) for one in ports])
    cluster = pb.Cluster(name=name, endpoints=name, active_health=health(**fields))
    return make_resource(cluster), make_resource(found)


@pytest.mark.parametrize("namespaces", [1, PROBES_AT_ONCE_MAX // TENANT_PROBES_AT_ONCE_MAX])
def test_silent_endpoints_of_a_namespace_hold_up_no_other(namespaces):
    held = []

    async def hold(_, writer):
        held.append(writer)

    async def run():
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(TENANT_PROBES_AT_ONCE_MAX)]
        silent = [await asyncio.start_server(hold, sock=one) for one in sockets]
        ports = [one.getsockname()[1] for one in sockets]
        pairs = [cluster_of(f"a{n}", ports, timeout_ms=NEVER_MS) for n in range(namespaces)]
        prober = Prober()
        async with Backend(status(500)) as backend, asyncio.timeout(60):
            watched, endpoints = cluster_of("b", [backend.port])
            found = {one.name: one for one in (endpoints, *(one for _, one in pairs))}
            clusters = [one for one, _ in pairs]
            prober.watch(clusters, found.get)
            while len(held) < namespaces * TENANT_PROBES_AT_ONCE_MAX:
                await asyncio.sleep(0.01)
            prober.watch([*clusters, watched], found.get)
            await prober.changed.wait()
            down = pb.Cluster.FromString(prober.render(watched).payload).down
        prober.close()
        for one in silent:
            one.close()
        return list(down) == [f"127.0.0.1:{backend.port}"]

    assert asyncio.run(run())


def test_the_namespace_with_most_endpoints_goes_without_probes_first(monkeypatch):
    monkeypatch.setattr(probing, "TARGETS_MAX", 4)

    async def run():
        many, many_endpoints = cluster_of("a", range(1, 10))
        few, few_endpoints = cluster_of("b", (1, 2))
        prober = Prober()
        prober.watch([many, few], {"a/web:80": many_endpoints, "b/web:80": few_endpoints}.get)
        probed = [target.tenant for target in prober._records]
        prober.close()
        return probed

    assert sorted(asyncio.run(run())) == ["a", "a", "b", "b"]


def test_what_is_not_watched_any_more_is_not_down():
    async def run():
        cluster = make_resource(pb.Cluster(name="c", endpoints="e", active_health=health()))
        endpoints = make_resource(
            pb.Endpoints(name="e", endpoints=[pb.Endpoint(address="127.0.0.1", port=1)])
        )
        prober = Prober()
        prober.watch([cluster], {"e": endpoints}.get)
        await asyncio.wait_for(prober.changed.wait(), 60)
        assert prober.render(cluster) is not cluster
        prober.watch([], {}.get)
        assert prober.render(cluster) is cluster
        prober.close()

    asyncio.run(run())


def test_addresses_are_written_as_the_engine_does():
    assert join_address("10.0.0.1", 80) == "10.0.0.1:80"
    assert join_address("::ffff:10.0.0.1", 80) == "10.0.0.1:80"
    assert join_address("2001:db8:0:0::1", 80) == "[2001:db8::1]:80"
