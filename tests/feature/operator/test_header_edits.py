"""`configuration-snippet`: what clients and Services see of directives that set header fields.

The table is what Debian's nginx 1.22.1 with headers-more 0.34 does, each snippet in a location that proxies.
"""

import contextlib
import http.client
import queue
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from objects import write_ingress, write_service
from ports import free_ports
from starting import ZEROSERVE, apart, started
from threads import served

SNIPPET, SERVER_SNIPPET = "configuration-snippet", "server-snippet"
CASES = {
    # name: (snippet, status asked of the Service, request fields, fields of the answer, fields that it got)
    "set": ('more_set_headers "X-Kept: a" "X-New:b c";', 200, {}, {"X-Kept": ["a"], "X-New": ["b c"]}, {}),
    "set-on-errors": ('more_set_headers "X-New: b";', 503, {}, {"X-Kept": ["service"], "X-New": ["b"]}, {}),
    "set-twice": (
        "more_set_headers 'X-New: a';\nmore_set_headers 'X-New: b';",
        200,
        {},
        {"X-Kept": ["service"], "X-New": ["b"]},
        {},
    ),
    "set-to-nothing": ('more_set_headers "X-Kept:";', 200, {}, {}, {}),
    "set-to-a-field-that-is-there": (
        'more_set_headers "X-Kept: $http_x_a";',
        200,
        {"X-A": "one"},
        {"X-Kept": ["one"]},
        {"x-a": "one"},
    ),
    "set-to-a-field-that-is-not": ('more_set_headers "X-Kept: $http_x_a";', 200, {}, {}, {}),
    "set-to-fields-of-which-one-is-there": (
        'more_set_headers "X-New: $http_x_a$http_x_b";',
        200,
        {"X-A": "one"},
        {"X-Kept": ["service"], "X-New": ["one"]},
        {"x-a": "one"},
    ),
    "set-to-fields-that-are-not": (
        'more_set_headers "X-Kept: $http_x_a$http_x_b";',
        200,
        {},
        {},
        {},
    ),
    "set-to-a-field-in-upper-case": (
        'more_set_headers "X-New: $HTTP_X_A";',
        200,
        {"X-A": "one"},
        {"X-Kept": ["service"], "X-New": ["one"]},
        {"x-a": "one"},
    ),
    "set-to-the-namespace": (
        'more_set_headers "X-New: $namespace";',
        200,
        {},
        {"X-Kept": ["service"], "X-New": ["default"]},
        {},
    ),
    "clear": ("more_clear_headers 'X-K*' X-None;", 200, {}, {}, {}),
    "add": ("add_header X-Kept a;", 200, {}, {"X-Kept": ["service", "a"]}, {}),
    "add-twice": (
        "add_header X-New a;\nadd_header X-New b;",
        200,
        {},
        {"X-Kept": ["service"], "X-New": ["a", "b"]},
        {},
    ),
    "add-on-errors": ("add_header X-New a;", 404, {}, {"X-Kept": ["service"]}, {}),
    "add-always": ("add_header X-New a always;", 404, {}, {"X-Kept": ["service"], "X-New": ["a"]}, {}),
    "add-on-redirects": ("add_header X-New a;", 302, {}, {"X-Kept": ["service"], "X-New": ["a"]}, {}),
    "add-nothing": ('add_header X-New "";', 200, {}, {"X-Kept": ["service"]}, {}),
    "add-a-field-that-is-not": ("add_header X-New $http_x_a;", 200, {}, {"X-Kept": ["service"]}, {}),
    "add-variables": (
        'add_header X-New "$request_method $scheme://$host$uri?$args";',
        200,
        {},
        {"X-Kept": ["service"], "X-New": ["GET http://add-variables.example/200?a=b"]},
        {},
    ),
    "quoted": (
        "# first\nadd_header X-New 'it\\'s \"so\" \\d'; # last\n",
        200,
        {},
        {"X-Kept": ["service"], "X-New": ['it\'s "so" \\d']},
        {},
    ),
    "hide": ("proxy_hide_header X-Kept;", 200, {}, {}, {}),
    "hide-and-add": ("proxy_hide_header X-Kept;\nadd_header X-Kept a;", 200, {}, {"X-Kept": ["a"]}, {}),
    "send": (
        "proxy_set_header X-A two;",
        200,
        {"X-A": "one"},
        {"X-Kept": ["service"]},
        {"x-a": "two"},
    ),
    "send-nothing": ('proxy_set_header X-A "";', 200, {"X-A": "one"}, {"X-Kept": ["service"]}, {}),
    "send-a-cookie": (
        "proxy_set_header X-A $cookie_a;",
        200,
        {"X-A": "one", "Cookie": "a=two"},
        {"X-Kept": ["service"]},
        {"x-a": "two"},
    ),
    "send-two-of-which-one-is-there": (
        "proxy_set_header X-A $http_x_b$cookie_a;",
        200,
        {"X-A": "one", "X-B": "two"},
        {"X-Kept": ["service"]},
        {"x-a": "two", "x-b": "two"},
    ),
    "send-a-cookie-that-is-not": (
        "proxy_set_header X-A $cookie_a;",
        200,
        {"X-A": "one"},
        {"X-Kept": ["service"]},
        {},
    ),
    "take": (
        'more_set_input_headers "X-A: two";\nmore_clear_input_headers "X-B*";',
        200,
        {"X-A": "one", "X-Bc": "x"},
        {"X-Kept": ["service"]},
        {"x-a": "two"},
    ),
}
SERVER_CASES = {
    # name: (server's snippet, location's snippet, fields of the answer, fields that the Service got)
    "inherited": (
        'add_header X-New a;\nmore_clear_headers X-Kept;\nmore_set_input_headers "X-A: b";',
        "",
        {"X-New": ["a"]},
        {"x-a": "b"},
    ),
    "added-anew": (
        "add_header X-New a;\nadd_header X-Kept a;",
        "add_header X-New b;",
        {"X-Kept": ["service"], "X-New": ["b"]},
        {},
    ),
    "set-again": (
        'more_set_headers "X-New: a";',
        'more_set_headers "X-New: b";',
        {"X-Kept": ["service"], "X-New": ["b"]},
        {},
    ),
    "set-besides": (
        'more_set_headers "X-New: a";',
        'more_set_headers "X-Kept: b";',
        {"X-Kept": ["b"], "X-New": ["a"]},
        {},
    ),
    "hidden": ("proxy_hide_header X-Kept;", "add_header X-New b;", {"X-New": ["b"]}, {}),
    "hidden-anew": ("proxy_hide_header X-Kept;", "proxy_hide_header X-Other;", {"X-Kept": ["service"]}, {}),
}
MOST = 'more_set_headers "X-New: $http_x_a";' + "".join(
    f'more_set_headers "Z-{number}: $http_x_b";' for number in range(127)
)
WEBSOCKET = 'proxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection "upgrade";'
GOT = queue.SimpleQueue()


class Telling(BaseHTTPRequestHandler):
    """Answers with the status of its path; what it got of fields `X-A…` and `X-B…` is told."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        GOT.put(
            {name.lower(): text for name, text in self.headers.items() if name.lower()[:3] in ("x-a", "x-b")}
        )
        self.send_response_only(int(self.path[1:4]))
        self.send_header("X-Kept", "service")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def ask(port, name, path, fields):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", path, headers={"Host": f"{name}.example"} | fields)
        answer = connection.getresponse()
        answer.read()
        found = {}
        for key, text in answer.getheaders():
            if key.lower() in ("x-kept", "x-new"):
                found.setdefault(key.title(), []).append(text)
        return answer.status, found


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """Serve an Ingress for each case; the port of HTTP."""
    folder = tmp_path_factory.mktemp("header-edits")
    snippets = {name: {SNIPPET: case[0]} for name, case in CASES.items()} | {
        "most": {SNIPPET: MOST},
        "upgrading": {SNIPPET: WEBSOCKET},
        "refusing": {
            SNIPPET: 'more_set_headers "X-New: a";\nadd_header X-Kept b always;\nadd_header X-Kept c;'
        }
        | {"denylist-source-range": "127.0.0.0/8"},
        "gone": {SNIPPET: "add_header X-New a always;"},
        "closed": {SNIPPET: "add_header X-New a;\nreturn 403;"},
    }
    for name, case in SERVER_CASES.items():
        snippets[name] = {SERVER_SNIPPET: case[0]} | ({SNIPPET: case[1]} if case[1] else {})
    with served(ThreadingHTTPServer(("127.0.0.1", 0), Telling)) as service:
        objects = []
        for name, annotations in snippets.items():
            objects.append(write_ingress(name, name, annotations))
            if name != "gone":
                objects += write_service(name, service.server_port)
        (folder / "manifests").mkdir()
        (folder / "manifests" / "all.yaml").write_text(yaml.safe_dump_all(objects))
        plain, secure = free_ports(2)
        command = [ZEROSERVE, "dev", "manifests", "--bind", "127.0.0.1", "--admin", "off", "--workers", "1"]
        command += ["--http-port", str(plain), "--https-port", str(secure)]
        with started(command, folder, plain, secure, environment=apart(folder)):
            yield plain


@pytest.mark.parametrize("name", CASES)
def test_fields_are_as_nginx_sets_them(port, name):
    _, status, fields, answered, got = CASES[name]
    answer, seen = ask(port, name, f"/{status}?a=b", fields), GOT.get(timeout=60)
    assert answer == (status, answered)
    assert seen == got


@pytest.mark.parametrize("name", SERVER_CASES)
def test_what_is_set_for_a_server_is_inherited_as_nginx_inherits_it(port, name):
    _, _, answered, got = SERVER_CASES[name]
    answer, seen = ask(port, name, "/200?a=b", {}), GOT.get(timeout=60)
    assert answer == (200, answered)
    assert seen == got


def test_as_many_fields_as_a_snippet_may_have_are_set(port):
    assert ask(port, "most", "/200", {"X-A": "one"}) == (200, {"X-Kept": ["service"], "X-New": ["one"]})
    assert ask(port, "most", "/200", {}) == (200, {"X-Kept": ["service"]})
    assert [GOT.get(timeout=60) for _ in range(2)] == [{"x-a": "one"}, {}]


def test_the_usual_lines_for_websockets_change_nothing(port):
    assert ask(port, "upgrading", "/200", {}) == (200, {"X-Kept": ["service"]})
    GOT.get(timeout=60)


def test_answers_of_the_node_itself_have_what_is_always_set(port):
    assert ask(port, "refusing", "/200", {}) == (403, {"X-New": ["a"], "X-Kept": ["b"]})
    assert ask(port, "gone", "/200", {}) == (503, {"X-New": ["a"]})


def test_a_snippet_that_does_more_closes(port):
    assert ask(port, "closed", "/200", {}) == (503, {})
