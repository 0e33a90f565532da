"""What a plugin may change that could mislead a client or a backend: status, method, heads without end."""

import http.client

import pytest
from zeroserve_cli.plugins.building import compile_c, find_compiler

from .nodes import serve

SOURCE = """
#include <zeroserve.h>
static u8 bytes[60000];

static __attribute__((noinline)) u64 read_number(void) {
    u8 text[8];
    return zs_parse_number(text, zs_read_query(ZS("status"), ZS_ROOM(text)));
}

ZS_RESPONSE u64 restate(struct zs_context *context) {
    u64 status = read_number();
    if (status != ZS_NONE) zs_set_response_status(status);
    return ZS_CONTINUE;
}
ZS_FUNCTION u64 answer(struct zs_context *context) {
    zs_set_response_body(ZS("made by a plugin"));
    return ZS_RESPOND(read_number());
}
ZS_FUNCTION u64 method(struct zs_context *context) {
    u64 length = zs_read_request_header(ZS("X-Method"), ZS_ROOM(bytes));
    return zs_write_request(ZS_REQUEST_METHOD, bytes, length) ? ZS_ERROR(400) : ZS_CONTINUE;
}
ZS_FUNCTION u64 grow(struct zs_context *context) {
    for (u64 at = 0; at < sizeof bytes; at++) bytes[at] = 'x';
    for (u64 round = 0; round < 60; round++) {
        zs_write_request_header(ZS("X-Long"), bytes, sizeof bytes - round);
        zs_add_request_header(ZS("X-Many"), ZS("y"));
        zs_add_response_header(ZS("X-Many"), bytes, 3000);
    }
    return ZS_CONTINUE;
}
ZS_FUNCTION u64 shout(struct zs_context *context) {
    for (u64 round = 0; round < 1000; round++) zs_log_message(ZS("again and again"));
    return ZS_CONTINUE;
}
"""
OPTIONS = """
    plugins {
        odd odd.o {
            allow request_write response_write
        }
    }
"""
SITE = """
    handle /hooked {
        zeroserve_plugin odd
        respond "a body of some length"
    }
    route /made {
        zeroserve_call odd answer
    }
    route /method {
        zeroserve_call odd method
        respond "{method}"
    }
    route /grow {
        zeroserve_call odd grow
        respond "grown"
    }
    route /shout {
        zeroserve_call odd shout
        respond "shouted"
    }
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    directory = tmp_path_factory.mktemp("node")
    (directory / "odd.c").write_text(SOURCE)
    (directory / "odd.o").write_bytes(compile_c([directory / "odd.c"], find_compiler()))
    with serve(directory, OPTIONS, SITE, {}) as node:
        yield node


@pytest.mark.parametrize("path", ["/hooked", "/made"])
@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_a_plugin_makes_one_without_a_body_has_none(node, path, status):
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60)
    connection.request("GET", f"{path}?status={status}")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (status, b"")
    socket = connection.sock
    connection.request("GET", "/method", headers={"X-Method": "PUT"})
    assert connection.getresponse().read() == b"PUT"
    assert connection.sock is socket, "the connection went on"
    connection.close()


def test_a_method_is_a_token_of_a_method_s_length(node):
    assert node.ask("/method", X_Method="M" * 32)[::2] == (200, "M" * 32)
    assert node.ask("/method", X_Method="M" * 33)[0] == 400
    assert node.ask("/method", X_Method="GET /x")[0] == 400


def test_a_head_that_grows_without_end_is_bounded(node):
    status, fields, body = node.ask("/grow")
    assert (status, body) == (200, "grown")
    assert 0 < sum(map(len, fields.get_all("X-Many"))) < 128 << 10


def test_a_plugin_s_lines_of_a_second_are_bounded(node):
    assert node.ask("/shout")[::2] == (200, "shouted")
    # One call lies within one second, or across the turn of one.
    assert node.wait_for_line("again and again").count("again and again") <= 200
