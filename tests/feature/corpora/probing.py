"""Backends for every Service that a manifest names, accounts for basic auth, and requests to the engine.

Each Service has a loopback address of its own; the one backend listens on all of them and tells which it was
called at, so that an answer names the Service that gave it.
"""

import base64
import contextlib
import hashlib
import http.client
import http.server
import re
import socket
import ssl

from expecting import annotations_of, passes_through, rules_of
from threads import served
from zeroserve_operator.resources.objects import Kind, ObjectKey

USER, PASSWORD = "probe", "open sesame"


class PathHandler(http.server.BaseHTTPRequestHandler):
    """Answers with the request target."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        payload = self.requestline.split(" ")[1].encode("latin-1")
        self.send_response_only(200)
        self.send_header("Content-Length", str(len(payload)))
        self.send_header("X-Called-At", self.connection.getsockname()[0])
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
    server = _Server(("0.0.0.0", 0), PathHandler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with served(server):
        yield server.server_port


def backends_of(raw):
    """Yield (service, port) of an Ingress: port is a number or a name."""
    spec = raw.get("spec") or {}
    for backend in [spec.get("defaultBackend") or {}, *(backend for *_, backend in rules_of(raw))]:
        service = backend.get("service") or {}
        port = service.get("port") or {}
        number = port.get("number") or port.get("name")
        if isinstance(service.get("name"), str) and number:
            yield service["name"], number


def address_of(number):
    """Return the loopback address of one of up to 60,000 Services."""
    return f"127.1.{number // 250}.{number % 250 + 1}"


def add_accounts(objects):
    """Return the objects with a Secret for each basic auth that names a missing one of its own namespace."""
    added = dict(objects)
    for key, raw in objects.items():
        name = annotations_of(raw).get("auth-secret", "").strip() if key.kind is Kind.INGRESS else ""
        wanted = ObjectKey(Kind.SECRET, key.namespace, name.rpartition("/")[2])
        if name and name.rpartition("/")[0] in ("", key.namespace) and wanted not in added:
            digest = base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
            metadata = {"namespace": wanted.namespace, "name": wanted.name}
            added[wanted] = {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": metadata,
                "type": "Opaque",
                "stringData": {"auth": f"{USER}:{{SHA}}{digest}\n"},
            }
    return added


def speaks_tls(annotations):
    """Whether the backends of an Ingress are called by TLS: the engine's own, or the client's."""
    return annotations.get("backend-protocol", "").upper() == "HTTPS" or passes_through(annotations)


def add_backends(objects, plain_port, tls_port):
    """Return the objects with a Service and an EndpointSlice for each backend that an Ingress names.

    Also returns (namespace, name) of the Services by the address that they are called at.
    """
    ports, secure = {}, set()
    for key, raw in objects.items():
        if key.kind is Kind.INGRESS:
            for service, port in backends_of(raw):
                ports.setdefault((key.namespace, service), {})[port] = None
                if speaks_tls(annotations_of(raw)):
                    secure.add((key.namespace, service))
    added = dict(objects)
    called_at = {}
    for number, ((namespace, name), wanted) in enumerate(ports.items()):
        called_at[address_of(number)] = namespace, name
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
            "endpoints": [{"addresses": [address_of(number)], "conditions": {"ready": True}}],
        }
    return added, called_at


def ask(port, probe):
    """Send a probe; its status, Location, and what the backend saw and where (None: another answered)."""
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
        if probe.tls:
            context = ssl._create_unverified_context()
            name = probe.host if re.fullmatch(r"[a-z0-9.-]+", probe.host) else None
            connection = stack.enter_context(context.wrap_socket(connection, server_hostname=name))
        path = probe.path.encode("utf-8")
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode())
        account = b"\r\nAuthorization: Basic " + token if probe.has_account else b""
        head = b" HTTP/1.1\r\nHost: " + probe.host.encode() + account + b"\r\nConnection: close\r\n\r\n"
        connection.sendall(b"GET " + path + head)
        reply = http.client.HTTPResponse(connection)
        reply.begin()
        body = reply.read().decode("latin-1")
        called_at = reply.getheader("X-Called-At")
        return reply.status, reply.getheader("Location"), (body, called_at) if called_at else None
