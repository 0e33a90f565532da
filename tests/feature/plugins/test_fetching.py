"""`fetch`: each result is the one of its own request, and the log says why there was none."""

import http.server
import socket

import pytest
from threads import served
from zeroserve_cli.plugins.building import compile_c, find_compiler

from .nodes import serve

SOURCE = """
#include <zeroserve.h>
static u8 bytes[256];

/* Lets in whom a check allows; else a second request writes down that there was somebody. */
ZS_FUNCTION u64 gate(struct zs_context *context) {
    struct zs_text path = ZS_TEXT(bytes);
    u64 check = zs_parse_json(ZS("{\\"upstream\\":\\"idp\\"}"));
    u64 record = zs_parse_json(ZS("{\\"upstream\\":\\"idp\\",\\"path\\":\\"/record\\"}"));
    zs_put(&path, ZS("/check/"));
    zs_grow(&path, zs_read_request_header(ZS("X-User"), ZS_REST(&path)));
    zs_write_json_string(check, ZS("/path"), path.bytes, path.length);
    u64 allowed = zs_fetch(check);
    if (allowed == ZS_LATER) return ZS_SUSPEND;
    if (allowed == 200) return ZS_CONTINUE;
    if (zs_fetch(record) == ZS_LATER) return ZS_SUSPEND;
    return ZS_ERROR(403);
}

/* Sends what `config/request` describes. */
ZS_FUNCTION u64 send(struct zs_context *context) {
    u64 length = zs_read_json(ZS_INPUT, ZS("/config/request"), ZS_ROOM(bytes));
    if (!zs_fits(length, sizeof bytes)) return ZS_ERROR(501);
    u64 status = zs_fetch(zs_parse_json(bytes, length));
    if (status == ZS_LATER) return ZS_SUSPEND;
    return status == ZS_NONE ? ZS_ERROR(502) : ZS_CONTINUE;
}
"""
COUNTING = """
#include <zeroserve.h>
static u8 bytes[64];

static __attribute__((noinline)) u64 ask(void) {
    return zs_fetch(zs_parse_json(ZS("{\\"upstream\\":\\"idp\\",\\"path\\":\\"/record\\"}")));
}

static __attribute__((noinline)) u64 show(u64 number) {
    struct zs_text text = ZS_TEXT(bytes);
    zs_put_number(&text, number);
    zs_set_response_body(text.bytes, text.length);
    return ZS_RESPOND(200);
}

/* Each counts or takes, and waits then. */
ZS_FUNCTION u64 add(struct zs_context *context) {
    u64 first = zs_add_value(ZS("n"), 1, 60), second = zs_add_value(ZS("n"), 1, 60);
    return ask() == ZS_LATER ? ZS_SUSPEND : show(first * 100 + second);
}
ZS_FUNCTION u64 limit(struct zs_context *context) {
    u64 over = zs_limit_events(ZS("e"), 2, 3600000);
    return ask() == ZS_LATER ? ZS_SUSPEND : show(over);
}
ZS_FUNCTION u64 take(struct zs_context *context) {
    u64 was_there = zs_remove_value(ZS("n"));
    return ask() == ZS_LATER ? ZS_SUSPEND : show(was_there);
}

ZS_FUNCTION u64 call(struct zs_context *context) {
    if (zs_call_function(ZS("plain count"), ZS("{}")) != ZS_CONTINUE) return ZS_ERROR(501);
    return ask() == ZS_LATER ? ZS_SUSPEND : show(0);
}
"""
PLAIN = """
#include <zeroserve.h>
static u8 bytes[64];

ZS_FUNCTION u64 count(struct zs_context *context) {
    zs_add_value(ZS("n"), 1, 60);
    return ZS_CONTINUE;
}
ZS_FUNCTION u64 counted(struct zs_context *context) {
    struct zs_text text = ZS_TEXT(bytes);
    zs_put_number(&text, zs_add_value(ZS("n"), 0, 60));
    zs_set_response_body(text.bytes, text.length);
    return ZS_RESPOND(200);
}
"""
REFUSED = {
    "document": ("none", "there is no such document"),
    "upstream": ('{"upstream": "elsewhere"}', "its upstream is not granted"),
    "unnamed": ('{"path": "/"}', "it names no upstream"),
    "path": ('{"upstream": "idp", "path": "/a b"}', "its path does not begin with a slash"),
    "method": ('{"upstream": "idp", "method": "G T"}', "its method is none"),
    "field": ('{"upstream": "idp", "headers": {"Host": "x"}}', "one of its headers is not allowed"),
    "closed": ('{"upstream": "idp", "path": "/close"}', "closed the connection"),
    "long": ('{"upstream": "idp", "path": "/long"}', "the body is longer than 262144 bytes"),
    "slow": ('{"upstream": "slow"}', "was not done within 300 ms"),
    "down": ('{"upstream": "down"}', "refused"),
}


class Idp(http.server.BaseHTTPRequestHandler):
    """Allows nobody but those whose path says so, and takes every record."""

    def do_GET(self):
        if self.path == "/close":
            return
        allowed = self.path in ("/check/ada", "/record", "/long")
        body = b"x" * (262_145 if self.path == "/long" else 0)
        self.send_response(200 if allowed else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    directory = tmp_path_factory.mktemp("fetching")
    (directory / "p.c").write_text(SOURCE)
    (directory / "counting.c").write_text(COUNTING)
    (directory / "plain.c").write_text(PLAIN)
    for name in ("p", "counting", "plain"):
        (directory / f"{name}.o").write_bytes(compile_c([directory / f"{name}.c"], find_compiler()))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Idp)
    with served(server), socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as down:
        down.bind(("127.0.0.1", 0))  # and nobody listens
        names = [f"p_{name}" for name in REFUSED]
        # A plugin of its own for each: lines about one are a second apart.
        plugins = "".join(
            f"""
        {name} p.o {{
            allow outbound_http
            upstream idp 127.0.0.1:{server.server_port}
            upstream slow 127.0.0.1:{silent.getsockname()[1]}
            upstream down 127.0.0.1:{down.getsockname()[1]}
            fetch_timeout {"300ms" if name == "p_slow" else "60s"}
        }}"""
            for name in ["p", *names]
        )
        routes = "".join(
            f"""
    handle /{name} {{
        zeroserve_call p_{name} send {{
            request `{request}`
        }}
        respond "sent"
    }}"""
            for name, (request, _) in REFUSED.items()
        )
        plugins += f"""
        counting counting.o {{
            allow outbound_http key_value response_write call_plugins
            upstream idp 127.0.0.1:{server.server_port}
            fetch_timeout 60s
        }}
        plain plain.o {{
            allow key_value response_write
        }}"""
        routes += "".join(
            f"""
    handle /{name} {{
        zeroserve_call counting {name}
    }}"""
            for name in ("add", "limit", "take", "call")
        )
        routes += """
    handle /counted {
        zeroserve_call plain counted
    }"""
        site = f"""{routes}
    handle {{
        zeroserve_call p gate
        respond "welcome"
    }}"""
        with serve(directory, f"    plugins {{{plugins}\n    }}", site, {}) as served_node:
            yield served_node


@pytest.mark.parametrize(("user", "status"), [("ada", 200), ("eve", 403), ("a user of no path", 403)])
def test_a_check_that_cannot_be_sent_has_not_the_result_of_what_is_sent_after_it(node, user, status):
    assert node.ask("/", X_User=user)[0] == status


@pytest.mark.parametrize(
    ("name", "answers"),
    [("add", ["102", "304"]), ("limit", ["0", "0", "1"]), ("take", ["1", "0"])],
    ids=["sums", "limits", "what is taken once"],
)
def test_what_is_counted_before_a_call_waits_is_counted_once(node, name, answers):
    if name == "take":
        node.ask("/add")
    assert [node.ask(f"/{name}")[2] for _ in answers] == answers


def test_what_a_call_within_a_call_that_waits_counted_is_counted_once(node):
    assert node.ask("/call")[2] == "0"
    assert node.ask("/counted")[2] == "1"


@pytest.mark.parametrize("name", REFUSED)
def test_the_log_says_why_there_was_no_answer(node, name):
    assert node.ask(f"/{name}")[0] == 502
    (line,) = [
        line
        for line in node.wait_for_line(f"plugin p_{name}: a fetch got no answer").splitlines()
        if f"plugin p_{name}:" in line
    ]
    assert REFUSED[name][1] in line
