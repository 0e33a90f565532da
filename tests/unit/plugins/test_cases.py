"""`*.test` files: what they may say, and what is said of what they may not."""

import pytest
from zeroserve_cli.main import main

SOURCE = """
#include <zeroserve.h>
static u8 bytes[256];

ZS_FUNCTION u64 ask(struct zs_context *context) {
    u64 status = zs_fetch(zs_parse_json(ZS("{\\"upstream\\":\\"idp\\"}")));
    if (status == ZS_LATER) return ZS_SUSPEND;
    if (status != 200) return ZS_ERROR(403);
    zs_write_request_header(ZS("X-User"), bytes, zs_read_fetched_body(0, ZS_ROOM(bytes)));
    return ZS_PROXY(zs_find_upstream(ZS("shop")));
}

ZS_RESPONSE u64 stamp(struct zs_context *context) {
    if (zs_read_response_status(0) == 418) return ZS_ERROR(451);
    if (zs_read_response_status(0) < 400) zs_write_response_header(ZS("X-Kind"), ZS("sound"));
    zs_remove_response_header(ZS("X-Secret"));
    return ZS_CONTINUE;
}
"""
MANIFEST = """
name = "tried"
capabilities = ["request_write", "response_write", "outbound_http", "proxy"]
"""
ASK = 'function = "ask"\nupstreams = ["idp", "shop"]\n'
STAMP = 'function = "stamp"\n'
CASE = "[[case]]\nexpect = { status = 403 }\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tried")
    (directory / "plugin.c").write_text(SOURCE)
    (directory / "plugin.toml").write_text(MANIFEST)
    return directory


def run(project, text):
    (project / "a.test").write_text(text)
    return main(["plugin", "test", str(project)])


@pytest.mark.parametrize(
    "case",
    [
        'answers = [{ body = "ada" }]\nexpect = { upstream = "shop", request_headers = { X-User = "ada" } }',
        "answers = [{ status = 401 }]\nexpect = { forwarded = false, status = 403 }",
        "expect = { forwarded = false, status = 403 }",
    ],
    ids=["answered", "refused", "no answer"],
)
def test_its_own_requests_get_the_answers_of_the_case(project, capsys, case):
    assert run(project, f"{ASK}[[case]]\n{case}\n") == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    "case",
    [
        'expect = { status = 200, headers = { X-Kind = "sound" } }',
        "answer = { status = 503 }\nexpect = { status = 503, headers = { X-Kind = false } }",
        'answer = { headers = { X-Secret = "a", Set-Cookie = ["b", "c"] } }\n'
        'expect = { headers = { X-Secret = false, Set-Cookie = "b, c" } }',
        "answer = { status = 418 }\nexpect = { status = 451 }",
    ],
    ids=["200 by default", "status", "fields", "another in its place"],
)
def test_a_response_hook_sees_the_answer_of_the_case(project, capsys, case):
    assert run(project, f"{STAMP}[[case]]\n{case}\n") == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CASE, "`function` is missing; there are ask, stamp"),
        (f'function = "a"\n{CASE}', "there is no function 'a'; there are ask, stamp"),
        (f"function = 5\n{CASE}", "function must be a text"),
        (f"{ASK}secrets = {{ key = 5 }}\n{CASE}", "secrets must be a table of texts"),
        (f'{ASK}time = "now"\n{CASE}', "time must be seconds since 1970"),
        (f"{ASK}time = -1\n{CASE}", "time must be seconds since 1970"),
        (f"{ASK}time = true\n{CASE}", "time must be seconds since 1970"),
        (f'{ASK}case = "a"', "case must be an array of tables"),
        (f"{ASK}case = []", "has no case in a *.test file"),
        (f"{ASK}[[case]]\nrequest = {{ headers = [] }}\n", "case 1: request.headers must be a table"),
        (f"{ASK}[[case]]\nrequest = {{ target = 5 }}\n", "case 1: request.target must be a text"),
        (f"{ASK}[[case]]\nanswers = [{{ status = 42 }}]\n", "case 1: answers[1].status must be a status"),
        (f"{ASK}[[case]]\nanswers = [{{ stat = 4 }}]\n", "case 1: answers[1].unknown key 'stat'"),
        (f"{ASK}[[case]]\nanswer = {{ status = 200 }}\n{CASE[9:]}", "case 1: `answer` is for response hooks"),
        (f"{ASK}[[case]]\nconfig = {{ a = 2026-01-01 }}\n{CASE[9:]}", "case 1: config: "),
        (f"{ASK}[[case]]\nconfig = {{ a = nan }}\n{CASE[9:]}", "case 1: config: "),
        (f"{ASK}[[case]]\n", "case 1: `expect` must say something"),
        (f"{ASK}[[case]]\nexpect = {{ headers = {{}} }}\n", "case 1: `expect` must say something"),
        (f"{ASK}[[case]]\nexpect = {{ headers = {{ A = 1 }} }}\n", "case 1: expect.headers.A must be a text"),
        (f"{ASK}[[case]]\nexpect = {{ status = '403' }}\n", "case 1: expect.status must be a status"),
        (f'{ASK}{CASE}request = {{ target = "a b" }}\n', "case 1: request refused with 400"),
        (f'{ASK}{CASE}{CASE}request = {{ peer = "ada" }}\n', 'case 2: "ada" is no ip:port'),
    ],
)
def test_what_is_wrong_is_said_with_its_place(project, capsys, text, said):
    assert run(project, text) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'funktion = "ask"\n{CASE}', "a.test:1: unknown key 'funktion'; write 'function'"),
        (f"{ASK}[[cases]]\n", "a.test:3: unknown key 'cases'; write 'case'"),
        (f"{ASK}{CASE}{CASE}[[case]]\nexpcet = {{ status = 1 }}\n", "a.test:8: case 3: unknown key 'expcet'"),
        (
            f"{ASK}{CASE}[[case]]\n[case.expect]\nstatsu = 1\n",
            "a.test:7: case 2: expect.unknown key 'statsu'",
        ),
        (f'{ASK}{CASE}request = {{ "Header" = {{}} }}', "a.test:5: case 1: request.unknown key 'Header'"),
        (
            f"{ASK}[[case]]\nexpect.headers.A = 'b'\nexpect.headers.B = 1\n",
            "a.test:5: case 1: expect.headers.B",
        ),
        (f"{ASK}[[case]]\n", "a.test:3: case 1: `expect` must"),
        ('upstreams = []\nfunction = "a"\n', "a.test:2: there is no function 'a'"),
    ],
)
def test_what_is_misspelt_is_said_with_its_line_and_what_to_write(project, capsys, text, said):
    assert run(project, text) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("requests", ["0", "-5", "x"])
def test_requests_to_measure_are_one_or_more(project, capsys, requests):
    with pytest.raises(SystemExit):
        main(["plugin", "bench", "--requests", requests, str(project)])
    assert "must be 1 or more" in capsys.readouterr().err
