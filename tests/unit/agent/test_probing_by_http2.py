"""Active health by HTTP/2: of endpoints that speak nothing else, and gRPC's, whatever they answer."""

import asyncio
import ssl
import struct

import grpc
import grpc.aio
import hpack
import pytest
from signing import write_self_signed
from threads import Listener
from zeroserve_dataplane.agent.probing import Prober
from zeroserve_dataplane.agent.requesting import UnhealthyError, probe
from zeroserve_dataplane.agent.requesting_http2 import PREFACE
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import make_resource

DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 9
END_STREAM, END_HEADERS, PADDED, PRIORITY = 1, 4, 8, 32


def frame(kind, flags=0, payload=b"", stream=1):
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def block(*fields):
    return hpack.Encoder().encode(fields)


def head(status, flags=END_HEADERS, *fields):
    return frame(HEADERS, flags, block((":status", str(status)), *fields))


READY = head(200) + frame(DATA, END_STREAM, b"ready")


class Backend:
    """Answers each connection's first request with `answer`; keeps the fields of requests."""

    def __init__(self, answer, context=None):
        self.asked = []

        def serve(connection):
            speaking = context.wrap_socket(connection, server_side=True) if context else connection
            with connection, speaking, speaking.makefile("rb") as stream:
                assert stream.read(len(PREFACE)) == PREFACE
                speaking.sendall(frame(SETTINGS, stream=0) + frame(PING, 0, b"12345678", stream=0))
                kind = None
                while kind != HEADERS:
                    begin = stream.read(9)
                    kind, payload = begin[3], stream.read(int.from_bytes(begin[:3], "big"))
                self.asked.append(hpack.Decoder().decode(payload))
                speaking.sendall(answer)
                # To its end: an early close would take the answer away from the probe.
                stream.read()

        self.listener = Listener(serve)


def check(port, health, **fields):
    """Probe an endpoint as a cluster with these fields does."""
    endpoints = make_resource(pb.Endpoints(name="e", endpoints=[pb.Endpoint(address="127.0.0.1", port=port)]))
    health = pb.ActiveHealth(method="GET", uri="/up", timeout_ms=60_000, **health)
    cluster = pb.Cluster(name="c", endpoints="e", active_health=health, **fields)
    [target] = Prober()._find_targets(cluster, endpoints)
    asyncio.run(probe(health, target.place))


def ask(answer, *, tls=None, **health):
    backend = Backend(answer, tls)
    try:
        policy = pb.UpstreamTls(insecure_skip_verify=True, http2=True) if tls else None
        check(backend.listener.port, health, tls=policy, http2=tls is None)
    finally:
        backend.listener.close()
    return [dict(fields) for fields in backend.asked]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    write_self_signed(folder, "localhost", "127.0.0.1")
    return folder


@pytest.fixture(scope="module")
def context(certificate):
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.load_cert_chain(certificate / "tls.crt", certificate / "tls.key")
    found.set_alpn_protocols(["h2"])
    return found


@pytest.mark.parametrize("secure", [False, True], ids=["h2c", "TLS"])
def test_an_endpoint_is_asked_in_the_protocol_of_its_requests(secure, context):
    headers = [pb.KeyValue(key="Host", values=["h.test"]), pb.KeyValue(key="X-A", values=["1"])]
    [asked] = ask(READY, tls=context if secure else None, headers=headers, body_regexp="^ready$")
    assert asked == {
        ":method": "GET",
        ":scheme": "https" if secure else "http",
        ":authority": "h.test",
        ":path": "/up",
        "user-agent": "zeroserve-health",
        "x-a": "1",
    }


@pytest.mark.parametrize(
    "answer",
    [
        head(103) + READY,
        frame(HEADERS, 0, block((":status", "200")))
        + frame(CONTINUATION, END_HEADERS, block(("a", "b")))
        + READY[-14:],
        frame(
            HEADERS, END_HEADERS | PADDED | PRIORITY, b"\2" + bytes(5) + block((":status", "200")) + b"\0\0"
        )
        + frame(DATA, PADDED, b"\3re\0\0\0")
        + frame(DATA, END_STREAM, b"ady"),
        head(200) + frame(DATA, 0, b"ready") + frame(HEADERS, END_STREAM | END_HEADERS, block(("t", "1"))),
    ],
    ids=["interim answer", "continuation", "padding and priority", "trailers"],
)
def test_an_answer_may_come_in_any_form(answer):
    ask(answer, body_regexp="^ready$")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        head(500, END_HEADERS | END_STREAM),
        head("x"),
        head(20),
        frame(HEADERS, END_HEADERS, b"\xff" * 20),
        frame(HEADERS, END_HEADERS | PADDED, b"\x7f"),
        frame(DATA, END_STREAM, b"ready"),
        frame(RST_STREAM, 0, bytes(4)),
        frame(GOAWAY, 0, bytes(8), stream=0),
        frame(PUSH_PROMISE, END_HEADERS, bytes(4)),
        frame(HEADERS, END_HEADERS, block((":status", "200")), stream=3),
        frame(HEADERS, 0, block((":status", "200"))) + frame(DATA, END_STREAM, b"ready"),
        b"\xff" * 100,
        frame(HEADERS, 0) + frame(CONTINUATION, 0, bytes(16_000)) * 8,
    ],
)
def test_whatever_is_no_good_answer_is_unhealthy(answer):
    with pytest.raises(UnhealthyError):
        ask(answer, body_regexp="^ready$")


@pytest.mark.parametrize(("answer", "healthy"), [(b"\x08\x01", True), (b"\x08\x02", False), (None, False)])
def test_grpc_is_asked_over_tls_too(certificate, answer, healthy):
    async def serve():
        async def respond(_request, call):
            if answer is None:
                await call.abort(grpc.StatusCode.UNAVAILABLE)
            return answer

        server = grpc.aio.server()
        method = grpc.unary_unary_rpc_method_handler(respond)
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method})]
        )
        pair = [(certificate / name).read_bytes() for name in ("tls.key", "tls.crt")]
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([tuple(pair)]))
        await server.start()
        try:
            await asyncio.to_thread(check, port, {"protocol": pb.ActiveHealth.GRPC}, tls=policy)
        finally:
            await server.stop(None)

    policy = pb.UpstreamTls(insecure_skip_verify=True)
    if healthy:
        asyncio.run(serve())
    else:
        with pytest.raises(UnhealthyError):
            asyncio.run(serve())
