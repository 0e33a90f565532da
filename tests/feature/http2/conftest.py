"""`zeroserve run` on a site with TLS, with backends of HTTP/1.1, gRPC (h2c) and WebSocket."""

import contextlib
import datetime
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from ports import free_ports

sys.path.insert(0, str(Path(__file__).parent))

START_TIMEOUT_S = 60
CADDYFILE = """{{
	admin off
	auto_https off
	servers :{clear} {{
		protocols h1 h2 h2c
	}}
}}
http://:{clear} {{
	handle /grpc.Test/* {{
		reverse_proxy h2c://{grpc}
	}}
	reverse_proxy {plain}
}}
http://:{closed} {{
	reverse_proxy h2c://{grpc}
}}
https://:{port} {{
	tls {folder}/tls.crt {folder}/tls.key
	handle /static {{
		respond "hello"
	}}
	handle /grpc.Test/* {{
		reverse_proxy {grpc} {{
			transport http {{
				versions h2c 2
			}}
		}}
	}}
	reverse_proxy {plain}
}}
"""


def make_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "tls.crt").write_bytes(certificate.public_bytes(pem))
    (folder / "tls.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


class Backend:
    """HTTP/1.1: echoes a body, answers /size/N with N bytes, echoes after a switch; counts requests."""

    def __init__(self) -> None:
        self.requests = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # Requests that were cancelled end their connection anywhere.
        with contextlib.suppress(OSError, ValueError):
            self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader:
            while line := reader.readline():
                fields = {}
                while (field := reader.readline().strip()) != b"":
                    name, _, value = field.partition(b":")
                    fields[name.lower()] = value.strip()
                self.requests += 1
                if fields.get(b"upgrade") == b"websocket":
                    connection.sendall(
                        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                        b"Sec-WebSocket-Accept: x\r\n\r\n"
                    )
                    while data := connection.recv(4096):
                        connection.sendall(data)
                    return
                body = self._read_body(reader, fields)
                path = line.split(b" ")[1]
                if path.startswith(b"/size/"):
                    body = b"x" * int(path[6:])
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    @staticmethod
    def _read_body(reader: object, fields: dict[bytes, bytes]) -> bytes:
        if b"transfer-encoding" not in fields:
            return reader.read(int(fields.get(b"content-length", 0)))
        body = b""
        while size := int(reader.readline(), 16):
            body += reader.read(size)
            reader.readline()
        reader.readline()
        return body


class Site:
    """A running server."""

    def __init__(self, ports: list[int], folder: Path, backend: Backend, session: int) -> None:
        """`ports`: with TLS; without it, one that takes HTTP/2, one that does not."""
        self.session = session
        self.port, self.clear, self.closed = ports
        self.folder = folder
        self.backend = backend


def _grpc_server() -> tuple[grpc.Server, int]:
    def unary(request: bytes, context: grpc.ServicerContext) -> bytes:
        if request == b"fail":
            context.set_trailing_metadata((("x-why", "asked to"),))
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "asked to fail")
        context.set_trailing_metadata((("x-trailer", "yes"),))
        return request[::-1]

    def both(requests: Iterator[bytes], _context: grpc.ServicerContext) -> Iterator[bytes]:
        for request in requests:
            yield request.upper()

    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Both": grpc.stream_stream_rpc_method_handler(both),
    }
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.Test", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("http2")
    make_certificate(folder)
    backend, (server, grpc_port) = Backend(), _grpc_server()
    ports = free_ports(3)
    port, clear, closed = ports
    text = CADDYFILE.format(
        port=port,
        clear=clear,
        closed=closed,
        folder=folder,
        grpc=f"127.0.0.1:{grpc_port}",
        plain=f"127.0.0.1:{backend.port}",
    )
    (folder / "Caddyfile").write_text(text)
    command = [str(Path(sys.executable).parent / "zeroserve"), "run", "--config", str(folder / "Caddyfile")]
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        command, stdout=log, stderr=subprocess.STDOUT, env=os.environ, start_new_session=True
    )
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.1)
    yield Site(ports, folder, backend, process.pid)
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    server.stop(None)
    backend.listener.close()
