"""`zeroserve_plugin` runs a plugin's request hooks before the routes, its response hooks on each answer."""

import pytest
from zeroserve_cli.plugins.building import compile_c, find_compiler

from .nodes import serve

SOURCE = """
#include <zeroserve.h>
static u8 name[64];
static u64 trap(void) { return *(u64 *)(zs_read_time(0) | 0x80000000); }

ZS_REQUEST u64 gate(struct zs_context *context) {
    if (zs_read_request_header(ZS("X-Deny"), ZS_ROOM(name)) != ZS_NONE) return ZS_ERROR(403);
    if (zs_read_request_header(ZS("X-Trap"), ZS_ROOM(name)) != ZS_NONE) return trap();
    if (zs_read_request_header(ZS("X-Answer"), ZS_ROOM(name)) != ZS_NONE) {
        zs_set_response_body(ZS("gate"));
        return ZS_RESPOND(202);
    }
    u64 length = zs_read_json(ZS_INPUT, ZS("/config/name"), ZS_ROOM(name));
    if (length <= sizeof name) zs_write_request_header(ZS("X-Gate"), name, length);
    return ZS_CONTINUE;
}

ZS_RESPONSE u64 stamp(struct zs_context *context) {
    zs_write_response_header(ZS("X-Stamp"), ZS("yes"));
    zs_remove_response_header(ZS("X-Secret"));
    if (zs_read_response_header(ZS("X-Break"), ZS_ROOM(name)) != ZS_NONE) return trap();
    if (zs_read_response_status(0) == 418) return ZS_ERROR(451);
    return ZS_CONTINUE;
}

ZS_FUNCTION u64 plain(struct zs_context *context) { return ZS_CONTINUE; }
"""
OPTIONS = """
    plugins {
        hooks hooks.o {
            allow request_write response_write
        }
        lenient hooks.o {
            allow request_write response_write
            fail open
        }
    }
"""
ROUTES = """
    header X-Secret s3cret
    handle /missing {
        error 404
    }
    handle /teapot {
        respond "short" 418
    }
    handle /break {
        header X-Break now
        respond "broken"
    }
    handle {
        respond "gate={header.X-Gate}"
    }
    handle_errors {
        respond "error {err.status_code}"
    }
"""


@pytest.fixture(scope="module", params=["hooks", "lenient"])
def node(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    (directory / "hooks.c").write_text(SOURCE)
    (directory / "hooks.o").write_bytes(compile_c([directory / "hooks.c"], find_compiler()))
    site = f"{ROUTES}\n    zeroserve_plugin {request.param} {{\n        name {{path}}\n    }}\n"
    with serve(directory, OPTIONS, site, {}) as served:
        served.is_open = request.param == "lenient"
        yield served


def test_request_hooks_run_before_the_routes_wherever_the_directive_stands(node):
    assert node.ask("/some/path")[::2] == (200, "gate=/some/path")


def test_response_hooks_see_each_answer(node):
    _, fields, _ = node.ask("/")
    assert (fields["X-Stamp"], "X-Secret" in fields) == ("yes", False)


def test_a_request_hook_may_answer_and_response_hooks_see_that_too(node):
    status, fields, body = node.ask("/", X_Answer="1")
    assert (status, body, fields["X-Stamp"]) == (202, "gate", "yes")


def test_a_request_hook_may_refuse(node):
    assert node.ask("/", X_Deny="1")[::2] == (403, "error 403")


def test_response_hooks_see_answers_to_errors(node):
    status, fields, body = node.ask("/missing")
    assert (status, body, fields["X-Stamp"]) == (404, "error 404", "yes")


def test_response_hooks_see_errors_that_nothing_handles(tmp_path):
    (tmp_path / "hooks.c").write_text(SOURCE)
    (tmp_path / "hooks.o").write_bytes(compile_c([tmp_path / "hooks.c"], find_compiler()))
    site = "@api path /api/*\nzeroserve_plugin @api hooks\nhandle /api/none {\nerror 404\n}\n"
    site += "handle /none {\nerror 404\n}\nreverse_proxy 127.0.0.1:1\n"
    with serve(tmp_path, OPTIONS, site, {}) as node:
        for path, status, stamp in (("/api/none", 404, "yes"), ("/none", 404, None), ("/api/x", 502, "yes")):
            found, fields, body = node.ask(path)
            assert (found, fields["X-Stamp"], body) == (status, stamp, "")


def test_a_response_hook_may_take_the_answers_place(node):
    assert node.ask("/teapot")[0] == 451


def test_hooks_that_fail_close_or_open_as_their_plugin_says(node):
    assert node.ask("/x", X_Trap="1")[::2] == ((200, "gate=") if node.is_open else (500, "error 500"))
    status, _, body = node.ask("/break")
    assert (status, body) == ((200, "broken") if node.is_open else (500, body))
