"""Ingresses with annotations on a running node: what clients and Services see of them."""

import base64
import hashlib
import http.client
import json
import queue
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from objects import write_ingress, write_service
from ports import free_ports
from signing import Authority, key_pem, name_of, pem, write_client, write_self_signed
from starting import ZEROSERVE, apart, started
from threads import served

MTLS = {"auth-tls-secret": "default/clients", "auth-tls-pass-certificate-to-upstream": "true"}
PASSWORD = {"auth-type": "basic", "auth-secret": "users"}
INGRESSES = {
    "shop": ("shop", {}),
    "next": ("shop", {"canary": "true", "canary-by-header": "X-Next", "canary-by-cookie": "next"}),
    "limited": ("limited", {"limit-rpm": "1", "limit-burst-multiplier": "1"}),
    "exempt": ("exempt", {"limit-rpm": "1", "limit-burst-multiplier": "1", "limit-whitelist": "127.0.0.0/8"}),
    "moved": (
        "moved",
        {"permanent-redirect": "https://new.example$request_uri", "from-to-www-redirect": "true"},
    ),
    "rooted": ("rooted", {"app-root": "/app", "server-alias": "alias.example"}),
    "denied": ("denied", {"denylist-source-range": "127.0.0.0/8"}),
    "inner": ("inner", {"upstream-vhost": "inside.$namespace.example", "affinity": "cookie"}),
    "copied": ("copied", {"mirror-target": "http://next.default.svc.cluster.local:80$request_uri"}),
    "locked": ("locked", PASSWORD),
    "keyed": (
        "keyed",
        PASSWORD | {"configuration-snippet": 'proxy_set_header Authorization "Bearer own";'},
    ),
    "guarded": ("guarded", MTLS),
    "named": ("named", MTLS | {"auth-tls-match-cn": "CN=other"}),
    "asked": ("asked", MTLS | {"auth-tls-verify-client": "optional"}),
}


ASKED = queue.SimpleQueue()
"""(port, path) of each request that a Service got."""


class Telling(BaseHTTPRequestHandler):
    """Answers with its port and the fields of the request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        seen = {"port": self.server.server_port} | {name.lower(): text for name, text in self.headers.items()}
        ASKED.put((self.server.server_port, self.path))
        body = json.dumps(seen).encode()
        self.send_response_only(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with certificates of clients that the authority of `guarded` knows, and does not."""
    folder = tmp_path_factory.mktemp("annotated")
    ours = Authority("ours")
    (folder / "ca.pem").write_bytes(pem(ours.certificate))
    write_client(folder / "good.pem", ours, "good")
    write_client(folder / "stranger.pem", Authority("others"), "stranger")
    middle = Authority("middle")
    middle.certificate = ours.sign(middle.name, middle.key, authority=True)
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = middle.sign(name_of("deep"), key)
    (folder / "deep.pem").write_bytes(pem(leaf) + pem(middle.certificate) + key_pem(key))
    write_self_signed(folder, "guarded.example")
    return folder


@pytest.fixture(scope="module")
def node(folder):
    """Serve the Ingresses; the ports of HTTP and HTTPS, and of the Services `shop` and `next`."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Telling) for _ in range(2)]
    with served(servers[0]) as one, served(servers[1]) as other:
        authority = base64.b64encode((folder / "ca.pem").read_bytes()).decode()
        objects = [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "clients"},
                "data": {"ca.crt": authority},
            },
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "users"},
                "stringData": {
                    "auth": f"ann:{{SHA}}{base64.b64encode(hashlib.sha1(b'right').digest()).decode()}"
                },
            },
        ]
        for name, (host, annotations) in INGRESSES.items():
            objects.append(write_ingress(name, host, annotations))
            objects += write_service(name, other.server_port if name == "next" else one.server_port)
        (folder / "manifests").mkdir()
        (folder / "manifests" / "all.yaml").write_text(yaml.safe_dump_all(objects))
        plain, secure = free_ports(2)
        command = [ZEROSERVE, "dev", "manifests", "--bind", "127.0.0.1", "--admin", "off", "--workers", "1"]
        command += ["--http-port", str(plain), "--https-port", str(secure)]
        with started(command, folder, plain, secure, environment=apart(folder)):
            yield plain, secure, one.server_port, other.server_port


class Named(http.client.HTTPSConnection):
    """A connection to this machine that asks for another name."""

    def __init__(self, port, name, client):
        context = ssl._create_unverified_context()
        if client is not None:
            context.load_cert_chain(client)
        super().__init__("127.0.0.1", port, context=context, timeout=60)
        self.name = name

    def connect(self):
        http.client.HTTPConnection.connect(self)
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self.name)


def ask(node, host, path="/", client=None, tls=False, **fields):
    name = f"{host}.example"
    connection = (
        Named(node[1], name, client) if tls else http.client.HTTPConnection("127.0.0.1", node[0], timeout=60)
    )
    try:
        headers = {key.replace("_", "-"): text for key, text in fields.items()}
        connection.request("GET", path, headers={"Host": name} | headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def ask_port(node, **fields):
    return json.loads(ask(node, "shop", **fields)[2])["port"]


def test_a_canary_gets_what_its_header_and_cookie_say(node):
    _, _, main, other = node
    assert ask_port(node) == main
    assert ask_port(node, X_Next="always") == other
    assert ask_port(node, Cookie="next=always") == other
    assert ask_port(node, X_Next="never", Cookie="next=always") == main
    assert ask_port(node, X_Next="sometimes", Cookie="next=always") == other


def test_a_client_past_its_rate_gets_429(node):
    assert [ask(node, "limited")[0] for _ in range(3)] == [200, 200, 429]


def test_an_exempt_client_is_not_counted(node):
    assert [ask(node, "exempt")[0] for _ in range(4)] == [200] * 4


@pytest.mark.parametrize(
    ("host", "path", "status", "location"),
    [
        ("moved", "/a?b=c", 301, "https://new.example/a?b=c"),
        ("www.moved", "/a?b=c", 308, "http://moved.example/a?b=c"),
        ("rooted", "/", 302, "http://rooted.example/app"),
        ("alias", "/", 302, "http://alias.example/app"),
    ],
)
def test_redirects(node, host, path, status, location):
    found, fields, _ = ask(node, host, path)
    assert (found, fields["Location"]) == (status, location)


def test_only_the_root_is_sent_to_the_application(node):
    assert ask(node, "alias", "/app")[0] == 200


def test_a_denied_client_gets_403(node):
    assert ask(node, "denied")[0] == 403


@pytest.mark.parametrize(("host", "told"), [("locked", None), ("keyed", "Bearer own")])
def test_a_password_is_asked_for_and_not_told_to_the_service(node, host, told):
    assert ask(node, host)[0] == 401
    password = base64.b64encode(b"ann:right").decode()
    status, _, body = ask(node, host, Authorization=f"Basic {password}")
    assert (status, json.loads(body).get("authorization")) == (200, told)


def test_the_service_hears_another_host_and_is_kept_to_by_a_cookie(node):
    status, fields, body = ask(node, "inner")
    assert status == 200 and json.loads(body)["host"] == "inside.default.example"
    assert fields["Set-Cookie"].startswith("INGRESSCOOKIE=")


def test_a_mirror_gets_a_copy(node):
    _, _, main, mirror = node
    _, _, body = ask(node, "copied", "/copied?x=y")
    assert json.loads(body)["port"] == main
    wanted = {(main, "/copied?x=y"), (mirror, "/copied?x=y")}
    while wanted:
        wanted.discard(ASKED.get(timeout=60))


def test_a_certificate_that_the_authority_signed_is_let_in_and_told(node, folder):
    forged = {"ssl_client_verify": "FORGED", "ssl_client_cert": "FORGED", "ssl_client_subject_dn": "CN=root"}
    status, _, body = ask(node, "guarded", client=folder / "good.pem", tls=True, **forged)
    seen = json.loads(body)
    assert status == 200 and seen["ssl-client-verify"] == "SUCCESS"
    assert "CN=good" in seen["ssl-client-subject-dn"] and "CN=ours" in seen["ssl-client-issuer-dn"]
    sent = (folder / "good.pem").read_text()
    assert sent.startswith(unquote(seen["ssl-client-cert"]))


@pytest.mark.parametrize("client", [None, "stranger.pem", "deep.pem"])
def test_another_certificate_or_none_is_refused(node, folder, client):
    status, _, body = ask(node, "guarded", client=client and folder / client, tls=True)
    assert status == 400 and b"certificate" in body


def test_without_tls_nobody_is_let_in(node):
    status, fields, _ = ask(node, "guarded", "/a", X_Forwarded_Proto="https")
    assert status == 308 and fields["Location"].startswith("https://guarded.example")
    assert ask(node, "guarded", "/.well-known/acme-challenge/x")[0] == 308


def test_another_subject_is_refused(node, folder):
    assert ask(node, "named", client=folder / "good.pem", tls=True)[0] == 403


def test_an_optional_certificate_may_be_missing_and_nobody_forges_it(node, folder):
    status, _, body = ask(
        node, "asked", tls=True, ssl_client_verify="SUCCESS", ssl_client_subject_dn="CN=root"
    )
    seen = json.loads(body)
    assert status == 200 and seen["ssl-client-verify"] == "NONE" and "ssl-client-subject-dn" not in seen
    assert ask(node, "asked", client=folder / "stranger.pem", tls=True)[0] == 400
    assert (
        json.loads(ask(node, "asked", client=folder / "good.pem", tls=True)[2])["ssl-client-verify"]
        == "SUCCESS"
    )
