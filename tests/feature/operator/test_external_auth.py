"""`auth-url` and its like on a running node: what clients, the authenticating Service and the backend see."""

import http.client
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from objects import write_ingress, write_service
from ports import free_ports
from starting import ZEROSERVE, apart, started
from threads import served

GATE = "http://gate.default.svc.cluster.local:80/check/page?rd=$escaped_request_uri"
FIELDS = {"auth-response-headers": "X-User, Authorization"}
COOKIE = "seen=1; Path=/"
INGRESSES = {
    "gate": ("own", {}),
    "service": ("service", {"auth-url": GATE} | FIELDS),
    "plain": ("plain", {"auth-url": "http://gate.default.svc/check", "auth-request-redirect": "/$host"}),
    "own": ("own", {"auth-url": "https://$host/gate/check", "auth-signin": "https://$host/start"} | FIELDS),
    "always": ("always", {"auth-url": GATE, "auth-always-set-cookie": "true", "auth-method": "HEAD"}),
    "signin": ("signin", {"auth-url": GATE, "auth-signin": "https://in.example/?to=$request_uri"}),
    "given": ("given", {"auth-url": GATE, "auth-signin": "https://in.example/?rd=/home"}),
    "away": ("away", {"auth-url": "http://away.default.svc:80/", "satisfy": "all"}),
    "missing": ("missing", {"auth-url": "http://nobody.default.svc:80/"}),
    "inside": (
        "inside",
        {"auth-url": GATE, "satisfy": "any", "whitelist-source-range": "127.0.0.0/8"} | FIELDS,
    ),
    "outside": (
        "outside",
        {"auth-url": GATE, "satisfy": "any", "whitelist-source-range": "10.0.0.0/8"} | FIELDS,
    ),
    "both": ("both", {"auth-url": GATE, "whitelist-source-range": "10.0.0.0/8"}),
    "shared": ("shared", {"auth-url": GATE, "enable-cors": "true"}),
    "foreign": ("foreign", {"auth-url": "http://gate.auth.svc/check"} | FIELDS),
    "unshared": ("unshared", {"auth-url": "http://gate.auth.svc:81/check"}),
}


class Recording(BaseHTTPRequestHandler):
    """Records requests of a server."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def record(self):
        fields = {name.lower(): text for name, text in self.headers.items()}
        body = self.rfile.read(int(fields.get("content-length", "0")))
        self.server.asked.append((self.command, self.path, fields, body))
        return fields

    def answer(self, status, body=b"", **fields):
        self.send_response_only(status)
        for name, text in fields.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Gate(Recording):
    """Answers with the status that the client's `X-Answer` names."""

    def do_GET(self):
        status = int(self.record().get("x-answer", "200"))
        if status == 401:
            self.answer(401, b"who?", WWW_Authenticate='Bearer realm="gate"', Set_Cookie=COOKIE)
        else:
            self.answer(status, b"gate", X_User="ann", Set_Cookie=COOKIE)

    do_HEAD = do_POST = do_GET  # noqa: N815 - names of http.server


class Backend(Recording):
    """Answers with the status that the client's `X-Backend` names, and the fields of the request."""

    def do_GET(self):
        fields = self.record()
        self.answer(int(fields.get("x-backend", "200")), json.dumps(fields).encode(), Set_Cookie="own=1")

    do_POST = do_OPTIONS = do_GET  # noqa: N815 - names of http.server


class Node:
    """A running node, the Service that is asked and the backend."""

    def __init__(self, port, gate, backend):
        self.port, self.gate, self.backend = port, gate, backend
        gate.asked, backend.asked = [], []

    def ask(self, host, path="/page?a=b&c=d", method="GET", body=None, **fields):
        """Return status, fields and body; what the two servers were asked before is forgotten."""
        self.gate.asked.clear()
        self.backend.asked.clear()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = {name.replace("_", "-"): text for name, text in fields.items()}
            connection.request(method, path, body, headers={"Host": f"{host}.example"} | headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("external-auth")
    gate, backend = (ThreadingHTTPServer(("127.0.0.1", 0), kind) for kind in (Gate, Backend))
    away, plain, secure = free_ports(3)
    objects = list(write_service("web", backend.server_port))
    objects += [*write_service("gate", gate.server_port), *write_service("away", away)]
    for item in write_service("gate", gate.server_port):
        item["metadata"]["namespace"] = "auth"
        objects.append(item)
    for name, (host, annotations) in INGRESSES.items():
        item = write_ingress(name, host, annotations)
        path = item["spec"]["rules"][0]["http"]["paths"][0]
        path["backend"]["service"]["name"] = "gate" if name == "gate" else "web"
        if name == "gate":
            path["path"] = "/gate"
        objects.append(item)
    (folder / "manifests").mkdir()
    (folder / "manifests" / "all.yaml").write_text(yaml.safe_dump_all(objects))
    command = [ZEROSERVE, "dev", "manifests", "--bind", "127.0.0.1", "--admin", "off", "--workers", "1"]
    command += ["--http-port", str(plain), "--https-port", str(secure)]
    command += ["--shared-auth-service", "auth/gate:80"]
    with (
        served(gate),
        served(backend),
        started(command, folder, plain, secure, environment=apart(folder)),
    ):
        yield Node(plain, gate, backend)


def test_after_2xx_the_request_goes_on_with_what_the_answer_said(node):
    status, _, body = node.ask("service", X_User="root", Authorization="Basic eDp5")
    seen = json.loads(body)
    assert status == 200 and seen["x-user"] == "ann" and "authorization" not in seen
    assert len(node.gate.asked) == len(node.backend.asked) == 1


def test_the_question_carries_the_clients_fields_and_what_was_asked(node):
    node.ask("service", Cookie="session=1", Authorization="Basic eDp5", X_Original_URL="http://forged/")
    ((method, path, fields, body),) = node.gate.asked
    assert (method, urlsplit(path).path, body) == ("GET", "/check/page", b"")
    assert parse_qs(urlsplit(path).query) == {"rd": ["/page?a=b&c=d"]}
    assert fields["host"] == "gate.default.svc.cluster.local"
    assert (fields["cookie"], fields["authorization"]) == ("session=1", "Basic eDp5")
    assert fields["x-original-url"] == "http://service.example/page?a=b&c=d"
    assert fields["x-original-method"] == fields["x-forwarded-method"] == "GET"
    assert fields["x-sent-from"] == "nginx-ingress-controller"
    assert fields["x-real-ip"] == fields["x-forwarded-for"] == "127.0.0.1"
    assert fields["x-auth-request-redirect"] == fields["x-original-uri"] == "/page?a=b&c=d"


def test_the_question_has_neither_body_nor_query_of_the_request(node):
    status, _, _ = node.ask("plain", method="POST", body=b"x" * 5000)
    ((method, path, fields, body),) = node.gate.asked
    assert (status, method, path, body) == (200, "GET", "/check", b"")
    assert "content-length" not in fields and "transfer-encoding" not in fields
    assert fields["x-original-method"] == "POST" and fields["x-auth-request-redirect"] == "/plain.example"
    assert node.backend.asked[0][3] == b"x" * 5000


def test_a_request_to_switch_protocols_is_asked_about_as_any_other(node):
    node.ask("service", Connection="Upgrade", Upgrade="websocket", X_Answer="403")
    assert node.gate.asked and not node.backend.asked
    node.ask("service", Connection="Upgrade", Upgrade="websocket")
    assert node.backend.asked[0][2]["upgrade"] == "websocket"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_the_clients_answer(node, status):
    found, fields, body = node.ask("service", X_Answer=str(status))
    assert (found, body) == (status, b"who?" if status == 401 else b"gate")
    assert (fields["WWW-Authenticate"] == 'Bearer realm="gate"') is (status == 401)
    assert not node.backend.asked


@pytest.mark.parametrize("status", [300, 302, 400, 404, 500, 503])
def test_any_other_answer_is_an_error(node, status):
    found, _, body = node.ask("service", X_Answer=str(status))
    assert found == 500 and b"gate" not in body and not node.backend.asked


@pytest.mark.parametrize(("host", "statuses"), [("away", (502, 503)), ("missing", (502, 503))])
def test_without_an_answer_nobody_is_let_in(node, host, statuses):
    assert node.ask(host)[0] in statuses and not node.backend.asked


def test_a_path_of_the_host_itself_is_asked_at_its_service(node):
    status, _, body = node.ask("own", X_User="root")
    assert status == 200 and json.loads(body)["x-user"] == "ann"
    ((_, path, fields, _),) = node.gate.asked
    assert (path, fields["host"]) == ("/gate/check", "own.example")


def test_a_service_that_the_operator_shares_is_asked_and_no_other_port_of_it(node):
    status, _, body = node.ask("foreign", X_User="root")
    assert status == 200 and json.loads(body)["x-user"] == "ann"
    assert node.ask("foreign", X_Answer="403")[0] == 403 and not node.backend.asked
    assert node.ask("unshared")[0] == 503 and not node.gate.asked and not node.backend.asked


@pytest.mark.parametrize(
    ("host", "location"),
    [
        ("own", "https://own.example/start?rd=http://own.example%2Fpage%3Fa%3Db%26c%3Dd"),
        ("signin", "https://in.example/?to=/page?a=b&c=d&rd=http://signin.example%2Fpage%3Fa%3Db%26c%3Dd"),
        ("given", "https://in.example/?rd=/home"),
    ],
)
def test_clients_who_are_nobody_are_sent_to_sign_in(node, host, location):
    status, fields, _ = node.ask(host, X_Answer="401")
    assert (status, fields["Location"], fields["Set-Cookie"]) == (302, location, COOKIE)
    assert node.ask(host, X_Answer="403")[0] == 403


@pytest.mark.parametrize(
    ("host", "status", "cookies"),
    [
        ("service", "200", [COOKIE, "own=1"]),
        ("service", "404", ["own=1"]),
        ("always", "404", [COOKIE, "own=1"]),
    ],
)
def test_the_answers_cookie_is_the_clients(node, host, status, cookies):
    found, fields, _ = node.ask(host, X_Backend=status)
    assert (str(found), sorted(fields.get_all("Set-Cookie"), reverse=True)) == (status, cookies)


def test_the_method_of_the_question_may_be_another(node):
    node.ask("always")
    assert node.gate.asked[0][0] == "HEAD"


def test_either_suffices_and_fields_of_nobody_are_dropped(node):
    status, _, body = node.ask("inside", X_User="root", Authorization="Basic eDp5")
    assert status == 200 and not node.gate.asked
    assert {"x-user", "authorization"}.isdisjoint(json.loads(body))
    status, _, body = node.ask("outside", X_User="root")
    assert status == 200 and json.loads(body)["x-user"] == "ann"
    assert node.ask("outside", X_Answer="401")[0] == 401


def test_source_ranges_come_first(node):
    assert node.ask("both")[0] == 403 and not node.gate.asked


def test_preflights_are_answered_before(node):
    assert node.ask("shared", method="OPTIONS", X_Answer="401")[0] == 204 and not node.gate.asked
    status, fields, _ = node.ask("shared", X_Answer="401")
    assert status == 401 and fields["Access-Control-Allow-Origin"] == "*"
