"""What plugins ask of the engine: bodies, their own requests, each other, kept values, answers, upstreams."""

import hashlib
import hmac
import http.server

import pytest
from threads import served

from .nodes import serve

ROOM = 0x30800
RESPOND, PROXY, SUSPEND, ADOPT = 1, 2, 6, 9
PENDING = -2


def call(helper, *arguments):
    """Lines that call a helper; a text argument is the address and length of an `.ascii`."""
    words = [
        word
        for one in arguments
        for word in ((f"${one}", f"${one}.length") if isinstance(one, str) else (one,))
    ]
    moves = [f"    mov %r{number}, {word}" for number, word in enumerate(words, 1)]
    return "\n".join([*moves, f"    call {helper}"])


def respond(status=200):
    """Lines that answer with what lies at ROOM, r0 bytes."""
    return f"""
    mov %r2, %r0
    mov %r1, {ROOM}
    call set_response_body
    lddw %r0, {RESPOND | status << 8}
    exit
"""


PLUGIN = f"""
.ascii key "key"
.ascii message "message"
.ascii other "other echo"
.ascii self "store recurse"
.ascii object "{{}}"
.ascii request "{{\\"upstream\\":\\"api\\",\\"method\\":\\"POST\\",\\"path\\":\\"/a\\",\\"body\\":\\"hi\\"}}"
.ascii nowhere "{{\\"upstream\\":\\"elsewhere\\"}}"
.ascii upstream "api"
.ascii seen "X-Seen"
.ascii yes "yes"
.ascii served "Server-Said"
.ascii token "token"

.function body
{call("read_request_body", 0, ROOM, 64)}
    jeq %r0, {PENDING}, suspend.body
{respond()}
suspend.body:
    mov %r0, {SUSPEND}
    exit

.function fetch
{call("parse_json", "request")}
    mov %r1, %r0
    call fetch
    jeq %r0, {PENDING}, suspend.fetch
    jeq %r0, -1, failed.fetch
    mov %r0, {ADOPT}
    exit
failed.fetch:
    lddw %r0, {5 | 502 << 8}
    exit
suspend.fetch:
    mov %r0, {SUSPEND}
    exit

.function stray
{call("parse_json", "nowhere")}
    mov %r1, %r0
    call fetch
    jeq %r0, -1, refused.stray
    mov %r0, 0
    exit
refused.stray:
    lddw %r0, {5 | 403 << 8}
    exit

.function nested
{call("call_function", "other", "object")}
    exit

.function recurse
{call("call_function", "self", "object")}
    jeq %r0, -1, deepest
    exit
deepest:
    lddw %r0, {RESPOND | 203 << 8}
    exit

.function count
{call("add_value", "key", 1, 60)}
    add %r0, 200
    lsh %r0, 8
    or %r0, {RESPOND}
    exit

.function limit
{call("limit_events", "key", 2, 3600000)}
    jeq %r0, 0, allowed
    lddw %r0, {5 | 429 << 8}
allowed:
    exit

.function see
{call("read_response_status", 0)}
    jne %r0, 204, passes
{call("write_response_header", "seen", "yes")}
passes:
    mov %r0, 0
    exit

.function upstream
{call("find_upstream", "upstream")}
    lsh %r0, 32
    or %r0, {PROXY}
    exit

.function secret
{call("read_secret", "token", ROOM, 64)}
{respond()}

.function sign
{call("hmac_sha256", "key", "message", 0x30700)}
{call("encode", 2, 0x30700, 32, ROOM, 64)}
{respond()}

.function echo
{call("read_request", 3, ROOM, 64)}
{respond(202)}
"""
OPTIONS = """
    plugins {
        store store.s {
            allow request_write response_write request_body outbound_http secrets
            allow key_value call_plugins proxy
            upstream api 127.0.0.1:%d
            secret token "s3cret"
            fetch_timeout 20s
        }
        other store.s {
            allow response_write
        }
    }
"""
SITE = """
    handle_errors {
        respond "error {err.status_code}"
    }
    zeroserve_call /body store body
    zeroserve_call /fetch store fetch
    zeroserve_call /stray store stray
    zeroserve_call /nested store nested
    zeroserve_call /recurse store recurse
    zeroserve_call /count store count
    zeroserve_call /limit store limit
    zeroserve_call /upstream store upstream
    zeroserve_call /secret store secret
    zeroserve_call /sign store sign
    handle /seen {
        intercept {
            handle_response {
                zeroserve_call store see
            }
        }
        respond 204
    }
    handle /forward {
        zeroserve_call store look
        reverse_proxy 127.0.0.1:%d
    }
    respond "end"
"""
PLUGIN += f"""
.function look
{call("read_request_body", 0, ROOM, 8)}
    jeq %r0, {PENDING}, suspend.look
    mov %r0, 0
    exit
suspend.look:
    mov %r0, {SUSPEND}
    exit
"""


class Backend(http.server.BaseHTTPRequestHandler):
    """Says what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        length = int(self.headers.get("Content-Length", 0))
        said = f"{self.command} {self.path} {self.rfile.read(length).decode()}".encode()
        self.send_response(207)
        self.send_header("Server-Said", "this")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_POST = do_GET  # noqa: N815  # the name that http.server asks for

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with served(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)) as backend:
        port = backend.server_address[1]
        site = SITE % port
        with serve(tmp_path_factory.mktemp("helpers"), OPTIONS % port, site, {"store.s": PLUGIN}) as node:
            yield node


@pytest.mark.parametrize("body", ["", "hello", "x" * 64])
def test_the_body_is_read_before_the_function_goes_on(node, body):
    assert node.ask("/body", "POST", body)[::2] == (200, body)


def test_a_long_body_is_seen_in_part_and_goes_up_whole(node):
    body = "y" * 300_000
    status, _, said = node.ask("/forward", "POST", body)
    assert (status, said) == (207, "POST /forward " + body)


def test_a_plugin_asks_an_upstream_and_adopts_its_answer(node):
    status, fields, said = node.ask("/fetch")
    assert (status, fields["Server-Said"], said) == (207, "this", "POST /a hi")


def test_an_upstream_that_is_not_granted_is_not_asked(node):
    assert node.ask("/stray")[::2] == (403, "error 403")


def test_a_plugin_calls_another_one_up_to_a_depth(node):
    assert node.ask("/nested?x")[::2] == (202, "/nested?x")
    assert node.ask("/recurse")[0] == 203


def test_values_and_rates_are_kept_between_requests(node):
    first = node.ask("/count")[0]
    assert [node.ask("/count")[0] for _ in range(3)] == [first + 1, first + 2, first + 3]
    assert [node.ask("/limit")[0] for _ in range(3)] == [200, 200, 429]


def test_a_response_hook_sees_the_answer_and_changes_its_fields(node):
    status, fields, _ = node.ask("/seen")
    assert (status, fields["X-Seen"]) == (204, "yes")


def test_a_plugin_chooses_the_upstream(node):
    assert node.ask("/upstream")[::2] == (207, "GET /upstream ")


def test_secrets_and_codes_are_what_they_should_be(node):
    assert node.ask("/secret")[2] == "s3cret"
    assert node.ask("/sign")[2] == hmac.digest(b"key", b"message", hashlib.sha256).hex()
