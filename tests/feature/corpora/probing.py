"""Backends for every Service that a manifest names, and the requests to the engine."""

import contextlib
import http.client
import http.server
import re
import socket
import ssl
import threading

from expecting import annotations_of, rules_of
from zeroserve_operator.resources.objects import Kind, ObjectKey


class PathHandler(http.server.BaseHTTPRequestHandler):
    """Answers with the request target."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        payload = self.requestline.split(" ")[1].encode("latin-1")
        self.send_response_only(200)
        self.send_header("Content-Length", str(len(payload)))
        self.send_header("X-Echo", "yes")
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        """The engine closes pooled connections when a cluster goes: nothing to tell."""


@contextlib.contextmanager
def path_backend(certificate=None):
    """Serve a backend, with TLS where a (certificate, key) is given; its port."""
    server = _Server(("127.0.0.1", 0), PathHandler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def backends_of(raw):
    """Yield (service, port) of an Ingress: port is a number or a name."""
    spec = raw.get("spec") or {}
    for backend in [spec.get("defaultBackend") or {}, *(backend for *_, backend in rules_of(raw))]:
        service = backend.get("service") or {}
        port = service.get("port") or {}
        number = port.get("number") or port.get("name")
        if isinstance(service.get("name"), str) and number:
            yield service["name"], number


def add_backends(objects, plain_port, tls_port):
    """Return the objects with a Service and an EndpointSlice for each backend that an Ingress names."""
    ports, secure = {}, set()
    for key, raw in objects.items():
        if key.kind is Kind.INGRESS:
            for service, port in backends_of(raw):
                ports.setdefault((key.namespace, service), {})[port] = None
                if annotations_of(raw).get("backend-protocol", "").upper() == "HTTPS":
                    secure.add((key.namespace, service))
    added = dict(objects)
    for (namespace, name), wanted in ports.items():
        target = tls_port if (namespace, name) in secure else plain_port
        metadata = {"namespace": namespace, "name": name}
        named = [
            {"name": port, "port": 20000 + at}
            if isinstance(port, str)
            else {"name": f"p{port}", "port": port}
            for at, port in enumerate(wanted)
        ]
        service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": named}}
        added[ObjectKey(Kind.SERVICE, namespace, name)] = service
        added[ObjectKey(Kind.ENDPOINT_SLICE, namespace, f"{name}-1")] = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "namespace": namespace,
                "name": f"{name}-1",
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv4",
            "ports": [{"name": one["name"], "port": target} for one in named],
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
        }
    return added


def ask(port, probe):
    """Send a probe; its status, Location, and what the backend saw (None: another answered)."""
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        if probe.tls:
            context = ssl._create_unverified_context()
            name = probe.host if re.fullmatch(r"[a-z0-9.-]+", probe.host) else None
            connection = stack.enter_context(context.wrap_socket(connection, server_hostname=name))
        path = probe.path.encode("utf-8")
        connection.sendall(
            b"GET " + path + b" HTTP/1.1\r\nHost: " + probe.host.encode() + b"\r\nConnection: close\r\n\r\n"
        )
        reply = http.client.HTTPResponse(connection)
        reply.begin()
        body = reply.read().decode("latin-1")
        return reply.status, reply.getheader("Location"), body if reply.getheader("X-Echo") else None
