"""`zeroserve run` on a site with TLS, with backends of HTTP/1.1, gRPC (h2c) and WebSocket."""

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from ports import free_ports
from signing import write_self_signed
from starting import ZEROSERVE, started
from threads import Listener

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parents[1] / "reliability"))

from framing import Client
from recording import Recorder

UNBOUNDED = (("grpc.max_receive_message_length", -1),)
# Calls of `Wait` that their backend saw end.
CANCELLED = threading.Semaphore(0)
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


class Backend:
    """HTTP/1.1: echoes a body, and bytes after a switch; counts requests.

    /size/N is answered with N bytes, /hints after a 103.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.listener = Listener(self._begin)
        self.port = self.listener.port

    def _begin(self, connection: socket.socket) -> None:
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
                if path == b"/hints":
                    connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </style>\r\n\r\n")
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

    def count(request: bytes, _context: grpc.ServicerContext) -> Iterator[bytes]:
        yield from (str(number).encode() for number in range(int(request)))

    def peer(_request: bytes, context: grpc.ServicerContext) -> bytes:
        return context.peer().encode()

    def wait(_request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        ended = threading.Event()
        # Not after the wait: a generator whose call ends before it is asked for more is never resumed.
        context.add_callback(CANCELLED.release)
        context.add_callback(ended.set)
        yield b"begun"
        ended.wait(60)

    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Both": grpc.stream_stream_rpc_method_handler(both),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Peer": grpc.unary_unary_rpc_method_handler(peer),
        "Wait": grpc.unary_stream_rpc_method_handler(wait),
    }
    server = grpc.server(futures.ThreadPoolExecutor(8), options=UNBOUNDED)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.Test", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("http2")
    write_self_signed(folder, "localhost", "127.0.0.1")
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
    with started([ZEROSERVE, "run", "--config", "Caddyfile"], folder, port) as process:
        yield Site(ports, folder, backend, process.pid)
    server.stop(None)
    backend.listener.close()


@pytest.fixture
def channel(site: Site) -> Iterator[grpc.Channel]:
    credentials = grpc.ssl_channel_credentials((site.folder / "tls.crt").read_bytes())
    with grpc.secure_channel(f"localhost:{site.port}", credentials, options=UNBOUNDED) as channel:
        yield channel


@pytest.fixture
def cancelled() -> threading.Semaphore:
    """Released once for every call of `Wait` that ends at its backend."""
    return CANCELLED


@pytest.fixture
def recorder(running: tuple) -> Recorder:
    """The backend of a module's `running` (port, recorder, …), with nothing recorded."""
    running[1].forget()
    return running[1]


@pytest.fixture
def client(running: tuple) -> Iterator[Client]:
    client = Client(running[0])
    with contextlib.closing(client.socket):
        yield client
