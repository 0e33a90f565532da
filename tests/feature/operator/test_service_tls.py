"""Ingresses with `proxy-ssl-*` on a running node, in front of a Service that asks for certificates itself."""

import base64
import http.client
import json
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from objects import write_ingress, write_service
from ports import free_ports
from signing import Authority, key_pem, name_of, pem
from starting import ZEROSERVE, apart, started
from threads import served

SHOWN = {"backend-protocol": "HTTPS", "proxy-ssl-secret": "default/ours"}
VERIFIED = SHOWN | {"proxy-ssl-verify": "on", "proxy-ssl-name": "api.internal"}
INGRESSES = {
    "verified": VERIFIED,
    "misnamed": VERIFIED | {"proxy-ssl-name": "other.internal"},
    "distrusted": VERIFIED | {"proxy-ssl-secret": "default/others"},
    "unverified": SHOWN | {"proxy-ssl-name": "other.internal"},
    "own": VERIFIED | {"proxy-ssl-secret": "default/own"},
    "own-misnamed": VERIFIED | {"proxy-ssl-secret": "default/own", "proxy-ssl-name": "other.internal"},
    "secretless": VERIFIED | {"proxy-ssl-secret": "default/missing"},
    "anonymous": {"backend-protocol": "HTTPS"},
    "asking": {"auth-url": "https://verified.default.svc.cluster.local:80/"}
    | VERIFIED
    | {"backend-protocol": "HTTP"},
    "mistaking": {"auth-url": "https://verified.default.svc.cluster.local:80/"}
    | VERIFIED
    | {"backend-protocol": "HTTP", "proxy-ssl-secret": "default/others"},
}

ATTEMPTS_MAX = 5


class Telling(BaseHTTPRequestHandler):
    """Answers with the server name that it was asked by, and the name of the client's certificate."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        shown = isinstance(self.connection, ssl.SSLSocket) and self.connection.getpeercert(binary_form=True)
        names = x509.load_der_x509_certificate(shown).subject.rfc4514_string() if shown else ""
        body = json.dumps({"name": getattr(self.connection, "asked_name", ""), "client": names}).encode()
        self.send_response_only(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Secure(ThreadingHTTPServer):
    """Shakes hands in the thread of the connection, which one that fails does not hold up."""

    def __init__(self, context):
        super().__init__(("127.0.0.1", 0), Telling)
        self.context = context

    def finish_request(self, request, client_address):
        try:
            request = self.context.wrap_socket(request, server_side=True)
        except OSError:
            return
        super().finish_request(request, client_address)

    def handle_error(self, *_):
        pass


def make_context(path, certificate, key, clients):
    """Return the TLS of a server that asks for a certificate of `clients`."""
    path.write_bytes(pem(certificate) + key_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.load_verify_locations(cadata=pem(clients.certificate).decode())
    context.verify_mode = ssl.CERT_OPTIONAL
    context.sni_callback = lambda connection, name, _: setattr(connection, "asked_name", name)
    return context


def write_secret(name, **data):
    encoded = {key.replace("_", "."): base64.b64encode(one).decode() for key, one in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """Serve the Ingresses; the port of HTTP."""
    folder = tmp_path_factory.mktemp("service-tls")
    ours, others = Authority("ours"), Authority("others")
    server, client = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    names = [x509.DNSName("api.internal")]
    context = make_context(folder / "server.pem", ours.sign(name_of("service"), server, names), server, ours)
    itself = Authority("itself")
    own = itself.sign(itself.name, itself.key, names, authority=True)
    alone = make_context(folder / "own.pem", own, itself.key, ours)
    pair = {"tls_crt": pem(ours.sign(name_of("node"), client)), "tls_key": key_pem(client)}
    objects = [
        write_secret("ours", ca_crt=pem(ours.certificate), **pair),
        write_secret("others", ca_crt=pem(others.certificate)),
        write_secret("own", ca_crt=pem(own)),
    ]
    servers = (Secure(context), Secure(alone), ThreadingHTTPServer(("127.0.0.1", 0), Telling))
    with served(servers[0]) as service, served(servers[1]) as lonely, served(servers[2]) as plain:
        for name, annotations in INGRESSES.items():
            tls = lonely if name.startswith("own") else service
            secure = annotations["backend-protocol"] == "HTTPS"
            objects.append(write_ingress(name, name, annotations))
            objects += write_service(name, (tls if secure else plain).server_port)
        (folder / "manifests").mkdir()
        (folder / "manifests" / "all.yaml").write_text(yaml.safe_dump_all(objects))
        http_port, https_port = free_ports(2)
        command = [ZEROSERVE, "dev", "manifests", "--bind", "127.0.0.1", "--admin", "off", "--workers", "1"]
        command += ["--http-port", str(http_port), "--https-port", str(https_port)]
        with started(command, folder, http_port, https_port, environment=apart(folder)):
            yield http_port


def ask(port, name):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/", headers={"Host": f"{name}.example"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def ask_until_it_serves(port, name):
    """Ask again while the node fails: it gives a Service, which is of this process, 5 s for its handshake."""
    for _ in range(ATTEMPTS_MAX):
        status, body = ask(port, name)
        if status < 500:
            break
    return status, body


@pytest.mark.parametrize(
    ("name", "asked", "client"),
    [
        ("verified", "api.internal", "CN=node"),
        ("unverified", "other.internal", "CN=node"),
        ("anonymous", "anonymous.example", ""),
        ("own", "api.internal", ""),
        ("asking", "", ""),
    ],
)
def test_a_service_is_shown_who_asks_and_for_whom(port, name, asked, client):
    status, body = ask_until_it_serves(port, name)
    assert (status, json.loads(body)) == (200, {"name": asked, "client": client})


@pytest.mark.parametrize("name", ["misnamed", "distrusted", "mistaking", "own-misnamed"])
def test_a_service_that_is_not_the_one_meant_gets_no_request(port, name):
    assert ask(port, name)[0] in (500, 502)


def test_without_its_secret_a_route_is_closed_and_says_why(port):
    status, body = ask(port, "secretless")
    assert status == 503 and b"Secret default/missing is not there" in body
