"""`default-backend` and `custom-http-errors` on a running node: who answers errors, and what it is told."""

import json
from contextlib import ExitStack
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from objects import write_ingress, write_service
from ports import free_ports
from starting import ZEROSERVE, apart, started
from threads import served

PAGES = {"default-backend": "pages"}
LISTED = PAGES | {"custom-http-errors": "401,403,404,413,502,503"}
GATE = {"auth-url": "http://gate.default.svc/"}
INGRESSES = {
    "shop": ("web", LISTED),
    "only": ("web", PAGES),
    "own": ("web", LISTED | {"disable-proxy-intercept-errors": "true"}),
    "empty": ("empty", PAGES),
    "away": ("away", LISTED),
    "unlisted": ("away", PAGES | {"custom-http-errors": "404"}),
    "kept": ("web", LISTED | {"whitelist-source-range": "10.0.0.0/8"}),
    "small": ("web", LISTED | {"proxy-body-size": "8"}),
    "asked": ("web", LISTED | GATE),
    "gateless": ("web", LISTED | {"auth-url": "http://empty.default.svc/"}),
    "lost": ("web", {"default-backend": "empty", "custom-http-errors": "404"}),
    "limited": ("web", LISTED | {"limit-rpm": "1", "limit-burst-multiplier": "1"}),
    "retried": ("web", LISTED | {"proxy-next-upstream": "http_503"}),
    "rewritten": ("web", LISTED | {"rewrite-target": "/x"}),
}


class Server(BaseHTTPRequestHandler):
    """Answers with a status of the request's field that the server names, and what it was asked."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        fields = {name.lower(): text for name, text in self.headers.items()}
        body = self.rfile.read(int(fields.get("content-length", "0")))
        asked = {"server": self.server.name, "method": self.command, "path": self.path, "fields": fields}
        self.server.asked.append(fields)
        answer = json.dumps(asked | {"body": len(body)}).encode()
        self.send_response_only(int(fields.get(self.server.names_status, "200")))
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("X-Server", self.server.name)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_HEAD = do_POST = do_GET  # noqa: N815 - names of http.server


def write_objects(ports):
    for name, port in ports.items():
        service, slices = write_service(name, port)
        if name == "pages":
            service["spec"]["ports"] = [{"name": "pages", "port": 8080}, {"name": "metrics", "port": 9090}]
            slices["ports"] = [{"name": "metrics", "port": ports["away"]}, {"name": "pages", "port": port}]
        if name == "empty":
            slices["endpoints"] = []
        yield from (service, slices)
    for host, (name, annotations) in INGRESSES.items():
        item = write_ingress(host, host, annotations)
        item["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] = name
        yield item
    plain = write_ingress("plain", "shop", {})
    path = plain["spec"]["rules"][0]["http"]["paths"][0]
    path["path"], path["backend"]["service"]["name"] = "/plain", "web"
    yield plain


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """Return a function that asks a running node and returns status, what was asked of whom, and fields."""
    folder = tmp_path_factory.mktemp("error-pages")
    away, plain, secure = free_ports(3)
    with ExitStack() as stack:
        ports, servers = {"away": away, "empty": away}, {}
        for name, field in (("web", "x-answer"), ("pages", "x-code"), ("gate", "x-gate")):
            server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
            server.name, server.names_status, server.asked = name, field, []
            servers[name] = server
            ports[name] = server.server_port
            stack.enter_context(served(server))
        (folder / "manifests").mkdir()
        (folder / "manifests" / "all.yaml").write_text(yaml.safe_dump_all(list(write_objects(ports))))
        command = [ZEROSERVE, "dev", "manifests", "--bind", "127.0.0.1", "--admin", "off", "--workers", "1"]
        command += ["--http-port", str(plain), "--https-port", str(secure)]
        stack.enter_context(started(command, folder, plain, secure, environment=apart(folder)))

        def ask(host, path="/page?a=b", method="GET", body=None, **fields):
            connection = HTTPConnection("127.0.0.1", plain, timeout=60)
            try:
                headers = {name.replace("_", "-"): text for name, text in fields.items()}
                connection.request(method, path, body, headers={"Host": f"{host}.example"} | headers)
                answer = connection.getresponse()
                told = answer.read()
                return answer.status, json.loads(told) if told else {}, answer.headers
            finally:
                connection.close()

        ask.servers = servers
        yield ask


def test_a_listed_answer_is_that_of_the_page_which_is_told_about_it(ask):
    status, page, _ = ask("shop", X_Answer="404", Accept="text/html", X_Code="200")
    assert (status, page["server"], page["method"], page["path"]) == (404, "pages", "GET", "/?a=b")
    told = {name: text for name, text in page["fields"].items() if name.startswith("x-")}
    assert (
        told.items()
        >= {
            "x-code": "404",
            "x-format": "text/html",
            "x-original-uri": "/page?a=b",
            "x-namespace": "default",
            "x-ingress-name": "shop",
            "x-service-name": "web",
            "x-service-port": "80",
        }.items()
    )
    assert page["fields"]["host"] == "shop.example"


def test_an_answer_that_further_attempts_did_not_better_is_that_of_the_page(ask):
    status, page, _ = ask("retried", X_Answer="503")
    assert (status, page["server"], page["path"]) == (503, "pages", "/?a=b")


@pytest.mark.parametrize("status", [200, 301, 400, 500, 504])
def test_other_answers_are_the_services_own(ask, status):
    found, answer, _ = ask("shop", X_Answer=str(status))
    assert (found, answer["server"]) == (status, "web")


def test_the_body_of_a_request_is_not_the_pages(ask):
    status, page, _ = ask("shop", method="POST", body=b"x" * 100_000, X_Answer="503")
    assert (status, page["server"], page["method"], page["body"]) == (503, "pages", "GET", 0)


def test_a_request_of_head_gets_the_head_of_the_page(ask):
    status, body, fields = ask("shop", method="HEAD", X_Answer="404")
    assert (status, body, fields["X-Server"]) == (404, {}, "pages")


def test_a_path_without_pages_keeps_its_errors(ask):
    status, answer, _ = ask("shop", "/plain/x", X_Answer="404")
    assert (status, answer["server"]) == (404, "web")


@pytest.mark.parametrize("host", ["only", "own"])
def test_where_nothing_is_intercepted_answers_are_the_services_own(ask, host):
    status, answer, _ = ask(host, X_Answer="404")
    assert (status, answer["server"]) == (404, "web")


def test_without_endpoints_the_page_gets_the_whole_request(ask):
    status, page, _ = ask("empty", "/cart?a=b", "POST", b"hello")
    assert (status, page["server"], page["method"], page["path"]) == (503, "pages", "POST", "/cart?a=b")
    assert (page["body"], page["fields"]["x-code"], page["fields"]["x-service-name"]) == (5, "503", "empty")


def test_what_the_node_finds_wrong_is_the_pages_too(ask):
    status, page, _ = ask("away", "/x", "POST", b"hello")
    assert (status, page["path"], page["fields"]["x-code"]) == (502, "/", "502")
    status, page, _ = ask("small", method="POST", body=b"x" * 100)
    assert (status, page["server"]) == (413, "pages")


def test_an_error_that_is_not_listed_is_answered_as_ever(ask):
    assert ask("unlisted")[:2] == (502, {})
    *_, (status, page, fields) = [ask("limited") for _ in range(4)]
    assert (status, page) == (429, {}) and "Retry-After" in fields


def test_a_refusal_is_told_to_the_page_and_nothing_else_is(ask):
    status, page, _ = ask("kept", "/secret", "POST", b"hello")
    assert (status, page["server"], page["method"], page["path"]) == (403, "pages", "GET", "/")
    for refusal in (401, 403):
        status, page, _ = ask("asked", X_Gate=str(refusal))
        assert (status, page["server"]) == (refusal, "pages")
    assert ask("asked")[1]["server"] == "web"


def test_a_request_that_nobody_could_be_asked_about_is_not_passed_on(ask):
    status, page, _ = ask("gateless", "/secret", "POST", b"hello")
    assert (status, page["server"], page["method"], page["path"], page["body"]) == (
        503,
        "pages",
        "GET",
        "/",
        0,
    )


def test_a_page_without_endpoints_leaves_the_status(ask):
    assert ask("lost", X_Answer="404")[:2] == (404, {})


def test_the_page_is_told_the_path_that_was_asked_for(ask):
    _, page, _ = ask("rewritten", "/page", X_Answer="404")
    assert page["fields"]["x-original-uri"] == "/page"


def test_page_and_service_are_told_one_identity_of_the_request(ask):
    _, page, _ = ask("shop", X_Answer="404")
    assert page["fields"]["x-request-id"] == ask.servers["web"].asked[-1]["x-request-id"]
