"""`plugin build` on functions that nobody could call, or that give no verdict: the line, and the cure."""

import pytest
from zeroserve_cli.main import main
from zeroserve_ir.plugins.type_info import read_signatures

C = """#include <zeroserve.h>
ZS_FUNCTION u64 good(struct zs_context *context) { return ZS_CONTINUE; }
"""
ZIG = """const zs = @import("zeroserve");
export fn good(_: *const zs.Context) linksection("function") zs.Verdict { return zs.CONTINUE; }
"""
SECTION = '__attribute__((section("{}"), used)) u64 f(struct zs_context *context) {{ return 0; }}'
ZIG_SECTION = 'export fn f(_: *const zs.Context) linksection("{}") {} {{ return 0; }}'
BAD_C = {
    "a word in a misspelt path": (SECTION.format("zeroserve/funtion"), "'zeroserve/funtion'", "ZS_FUNCTION"),
    "a misspelt hook": (SECTION.format("reqest"), "'reqest', which is no hook", "write ZS_REQUEST"),
    "a kernel's section": (SECTION.format("xdp"), "'xdp'", "ZS_FUNCTION or ZS_REQUEST or ZS_RESPONSE"),
    "an int": ("ZS_FUNCTION int f(struct zs_context *c) { return 0; }", "gives int", "write u64 f("),
    "nothing": ("ZS_FUNCTION void f(struct zs_context *c) { }", "gives void", "write u64 f("),
    "a number taken": ("ZS_REQUEST u64 f(u64 a) { return a; }", "takes no pointer", "write u64 f("),
    "two taken": ("ZS_FUNCTION u64 f(struct zs_context *c, u64 a) { return a; }", "takes 2", "write u64 f("),
    "static": ("static ZS_FUNCTION u64 f(struct zs_context *c) { return 0; }", "not exported", "`static`"),
}
BAD_ZIG = {
    "a misspelt hook": (ZIG_SECTION.format("funtion", "u64"), "'f' lies in section 'funtion'", "linksection"),
    "half a number": (ZIG_SECTION.format("function", "u32"), "gives u32", "write export fn f("),
}
SOUND = {
    "nothing taken": "ZS_FUNCTION u64 f(void) { return 0; }",
    "another word for the number": "ZS_FUNCTION unsigned long f(const void *context) { return 0; }",
    "helpers of its own": """u64 g(u64 a) { return a; }
static __attribute__((noinline)) int h(int a, int b) { return a * b; }
ZS_FUNCTION u64 f(struct zs_context *c) { return h((int)g(c->status), 3); }""",
    "helpers in a section of their own": """#define COLD __attribute__((noinline, section("cold")))
static COLD int h(int a) { return a; }
ZS_FUNCTION u64 f(struct zs_context *c) { return h(c->status); }""",
}


@pytest.fixture
def build(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(language, text):
        (tmp_path / "plugin.toml").write_text(f'name = "tried"\nlanguage = "{language}"\n')
        (tmp_path / f"plugin.{language}").write_text(text)
        return main(["plugin", "build"]), capsys.readouterr()

    return run


@pytest.mark.parametrize("name", BAD_C)
def test_what_no_route_could_call_or_read_is_refused_with_line_and_cure(build, tmp_path, name):
    text, said, cure = BAD_C[name]
    code, printed = build("c", C + text + "\n")
    assert code == 1
    assert "ZS0603" in printed.err
    assert "--> plugin.c:3:1" in printed.err
    assert said in printed.err
    assert cure in printed.err
    assert not (tmp_path / "tried.o").exists()


@pytest.mark.parametrize("name", BAD_ZIG)
def test_the_cure_is_in_the_author_s_language_and_said_once(build, name):
    text, said, cure = BAD_ZIG[name]
    code, printed = build("zig", ZIG + text + "\n")
    assert code == 1
    assert "--> plugin.zig:3:1" in printed.err
    assert said in printed.err
    assert cure in printed.err
    assert printed.err.count("ZS0603") == 1


def test_a_grant_that_is_missing_has_the_line_of_the_author_not_of_the_sdk(build):
    text = f"""{ZIG}export fn f(_: *const zs.Context) linksection("function") zs.Verdict {{
    if (zs.read_time(0) == 0) return zs.ABORT;
    _ = zs.count_metric(0, 1);
    _ = zs.remove_request_header("A");
    return zs.CONTINUE;
}}
"""
    code, printed = build("zig", text)
    assert code == 1
    assert "remove_request_header needs request_write" in printed.err
    assert "--> plugin.zig:6:1" in printed.err


def test_a_variable_is_no_hook(build):
    code, printed = build("c", C.replace("ZS_FUNCTION", "ZS_REQUEST") + "ZS_RESPONSE int count = 3;\n")
    assert code == 1
    assert "'count' is exported and is no function" in printed.err
    assert "leave out ZS_RESPONSE" in printed.err


@pytest.mark.parametrize("name", SOUND)
def test_what_nodes_can_call_is_built(build, name):
    code, printed = build("c", C + SOUND[name] + "\n")
    assert code == 0, printed.err


@pytest.mark.parametrize("content", [b"", b"\x9f\xeb" * 40, b"\x9f\xeb\x01\x00" + b"\xff" * 60])
def test_type_information_that_does_not_parse_is_none(content):
    assert read_signatures(content) == {}
