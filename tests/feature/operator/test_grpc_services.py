"""Ingresses with `backend-protocol: GRPC` and `GRPCS`: calls go through with their trailers and errors."""

import base64
from concurrent import futures

import grpc
import pytest
from ports import free_ports
from signing import write_self_signed
from starting import ZEROSERVE, apart, started

TIMEOUT_S = 60
HOSTS = ("plain.example", "secure.example")
OBJECTS = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {name}
  annotations: {{nginx.ingress.kubernetes.io/backend-protocol: "{protocol}"}}
spec:
  tls: [{{hosts: [{name}.example], secretName: tls}}]
  rules:
    - host: {name}.example
      http:
        paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: {name}, port: {{name: grpc}}}}}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{ports: [{{name: grpc, port: 50051}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: grpc, port: {port}}}]
endpoints: [{{addresses: [127.0.0.1], conditions: {{ready: true}}}}]
---
"""
SECRET = """\
apiVersion: v1
kind: Secret
metadata: {{name: tls}}
type: kubernetes.io/tls
data: {{tls.crt: {certificate}, tls.key: {key}}}
"""


def reverse(request, context):
    if request == b"fail":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "asked to fail")
    context.set_trailing_metadata((("x-trailer", "yes"),))
    return request[::-1]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """Serve two gRPC Services, one of them over TLS; the port of HTTPS and the certificate to trust."""
    folder = tmp_path_factory.mktemp("grpc")
    write_self_signed(folder, *HOSTS)
    certificate, key = ((folder / name).read_bytes() for name in ("tls.crt", "tls.key"))
    server = grpc.server(futures.ThreadPoolExecutor(4))
    handlers = {"Reverse": grpc.unary_unary_rpc_method_handler(reverse)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Text", handlers),))
    ports = (
        server.add_insecure_port("127.0.0.1:0"),
        server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)])),
    )
    server.start()
    objects = "".join(
        OBJECTS.format(name=host.partition(".")[0], protocol=protocol, port=port)
        for host, protocol, port in zip(HOSTS, ("GRPC", "GRPCS"), ports, strict=True)
    )
    files = {"certificate": certificate, "key": key}
    objects += SECRET.format(**{name: base64.b64encode(data).decode() for name, data in files.items()})
    (folder / "manifests").mkdir()
    (folder / "manifests" / "all.yaml").write_text(objects)
    plain, secure = free_ports(2)
    command = [ZEROSERVE, "dev", "manifests", "--bind", "127.0.0.1", "--admin", "off", "--workers", "1"]
    command += ["--http-port", str(plain), "--https-port", str(secure)]
    with started(command, folder, plain, secure, environment=apart(folder)):
        yield secure, certificate
    server.stop(None)


@pytest.fixture(params=HOSTS)
def call(service, request):
    """The call of a host's Service."""
    port, certificate = service
    credentials = grpc.ssl_channel_credentials(certificate)
    options = (
        ("grpc.ssl_target_name_override", request.param),
        ("grpc.default_authority", request.param),
    )
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        yield channel.unary_unary("/test.Text/Reverse")


def test_calls_go_through_with_their_trailers(call):
    answer, done = call.with_call(b"abc", timeout=TIMEOUT_S, wait_for_ready=True)
    assert answer == b"cba"
    assert ("x-trailer", "yes") in done.trailing_metadata()


def test_errors_go_through(call):
    with pytest.raises(grpc.RpcError) as caught:
        call(b"fail", timeout=TIMEOUT_S, wait_for_ready=True)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == "asked to fail"
