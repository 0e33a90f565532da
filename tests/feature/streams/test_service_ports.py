"""Ports that lead to Kubernetes Services over real sockets, by `zeroserve dev` and manifests.

Needs the engine's binary (`make setup`, or ZEROSERVE_ENGINE); without it these tests fail.
"""

import contextlib
import socket
import threading
import time

import pytest
from ports import free_ports
from starting import ZEROSERVE, apart, replace, started
from threads import Listener

PATIENCE_S = 60
ATTEMPT_S = 0.5
SHORT_STREAMS = 2000
SERVICE = """apiVersion: v1
kind: Service
metadata: {{name: echo, namespace: default}}
spec:
  ports:
    - {{name: both, port: 7, protocol: TCP}}
    - {{name: both-udp, port: 7, protocol: UDP}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: echo-1
  namespace: default
  labels: {{kubernetes.io/service-name: echo}}
addressType: IPv4
ports:
  - {{name: both, port: {tcp}, protocol: TCP}}
  - {{name: both-udp, port: {udp}, protocol: UDP}}
endpoints:
  - addresses: ["127.0.0.1"]
"""


END = b"end"


def answer_stream(connection):
    # Who closes at once, as it is waited for, has an end and no answer.
    with contextlib.suppress(OSError), connection:
        connection.sendall(b"tcp " + connection.recv(1000))


def answer_datagrams(server):
    while True:
        data, address = server.recvfrom(1000)
        if data == END:
            return
        server.sendto(b"udp " + data, address)


@pytest.fixture(scope="module")
def backend():
    """Yield the ports of a server of both protocols."""
    with (
        contextlib.closing(Listener(answer_stream)) as stream,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        datagrams.bind(("127.0.0.1", 0))
        answering = threading.Thread(target=answer_datagrams, args=(datagrams,), daemon=True)
        answering.start()
        yield stream.port, datagrams.getsockname()[1]
        datagrams.sendto(END, datagrams.getsockname())
        answering.join()


@pytest.fixture(scope="module")
def served(tmp_path_factory, backend):
    """Yield the ports of TCP and UDP, and the folder of manifests."""
    folder = tmp_path_factory.mktemp("services")
    (folder / "manifests").mkdir()
    (folder / "manifests" / "echo.yaml").write_text(SERVICE.format(tcp=backend[0], udp=backend[1]))
    tcp, udp, http, https = free_ports(4)
    command = [ZEROSERVE, "dev", "manifests", "--bind", "127.0.0.1", "--workers", "1"]
    command += ["--http-port", str(http), "--https-port", str(https), "--admin", "off"]
    command += [f"--tcp-service={tcp}=default/echo:7", f"--udp-service={udp}=default/echo:both-udp"]
    with started(command, folder, http, tcp, environment=apart(folder)):
        yield tcp, udp, folder / "manifests"


def ask_stream(port):
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(b"hello")
        return connection.recv(1000)


def ask_datagram(port, timeout_s=PATIENCE_S):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(timeout_s)
        client.connect(("127.0.0.1", port))
        client.send(b"hello")
        return client.recv(1000)


def test_a_port_leads_to_the_service_s_port_of_its_protocol(served):
    tcp, udp, _ = served
    assert ask_stream(tcp) == b"tcp hello"
    assert ask_datagram(udp) == b"udp hello"


def test_many_short_streams_lose_nothing(served):
    """The end of one would hit the next, were the place of its socket another's before it was shut down."""
    tcp, *_ = served
    assert {ask_stream(tcp) for _ in range(SHORT_STREAMS)} == {b"tcp hello"}


def test_endpoints_that_come_later_are_dialled(served, backend):
    tcp, udp, manifests = served
    text = SERVICE.format(tcp=backend[0], udp=backend[1])
    replace(manifests / "echo.yaml", text.partition("---")[0])
    deadline = time.monotonic() + PATIENCE_S
    while not is_closed(tcp):
        assert time.monotonic() < deadline
    assert not is_answered(udp)
    replace(manifests / "echo.yaml", text)
    deadline = time.monotonic() + PATIENCE_S
    while not is_answered(udp):
        assert time.monotonic() < deadline
    assert ask_stream(tcp) == b"tcp hello"


def is_closed(port):
    """Without endpoints a connection ends without a byte."""
    try:
        return ask_stream(port) == b""
    except ConnectionError:
        return True


def is_answered(port):
    try:
        return ask_datagram(port, ATTEMPT_S) == b"udp hello"
    except (TimeoutError, ConnectionRefusedError):
        return False
