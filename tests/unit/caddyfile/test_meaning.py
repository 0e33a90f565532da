"""Findings in Caddyfiles: code, line and cure of each mistake; access rules are never dropped silently."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zeroserve_ir.caddyfile.adapting import adapt_configuration
from zeroserve_ir.caddyfile.judging import find_unsupported
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Severity
from zeroserve_ir.tree import BasicAuth


def findings(text, file="Caddyfile"):
    return read_configuration(text, file=file, environment={})[1]


MISTAKES = [
    ("frobnicate", Code.ZS0101),
    ("respond", Code.ZS0102),
    ("respond a b c", Code.ZS0102),
    ("respond a 99", Code.ZS0103),
    ("redir /a /b 200", Code.ZS0103),
    ("respond @missing x", Code.ZS0104),
    ("@m {\n\t\tfrobnicate\n\t}", Code.ZS0104),
    ("@m path /a\n\t@m path /b", Code.ZS0105),
    ("@m path_regexp (", Code.ZS0106),
    ("@m header_regexp A (?=x)", Code.ZS0106),
    ("uri path_regexp ( x", Code.ZS0106),
    ("reverse_proxy {\n\t\tfrobnicate\n\t}", Code.ZS0109),
    ("reverse_proxy a:1 {\n\t\tlb_policy frobnicate\n\t}", Code.ZS0109),
    ("file_server {\n\t\tfs x\n\t}", Code.ZS0110),
    ("reverse_proxy a:99999", Code.ZS0103),
    ("reverse_proxy ws://a", Code.ZS0103),
    ("reverse_proxy http://a https://b", Code.ZS0103),
    ("reverse_proxy http://a/path", Code.ZS0103),
    ("reverse_proxy http://a:443", Code.ZS0103),
    ("reverse_proxy a:1-60000", Code.ZS0202),
    ("reverse_proxy a {\n\t\tlb_try_duration soon\n\t}", Code.ZS0103),
    ("request_body {\n\t\tmax_size many\n\t}", Code.ZS0103),
    ("@m remote_ip 10.0.0.0/40", Code.ZS0103),
    ("@m protocol gopher", Code.ZS0103),
    ("@m query a", Code.ZS0103),
    ("basic_auth md5 {\n\t\ta b\n\t}", Code.ZS0103),
    ("handle {\n\t\ttls internal\n\t}", Code.ZS0101),
    ("tls a", Code.ZS0102),
    ("tls {\n\t\tclient_auth {\n\t\t\tfrobnicate\n\t\t}\n\t}", Code.ZS0109),
]


def test_a_size_behind_request_body_is_left_out_with_the_line_to_write():
    (found,) = findings(":80 {\n\trequest_body 5MB\n}\n")
    assert (found.code, found.severity) == (Code.ZS0102, Severity.WARNING)
    assert (found.span.line, found.help) == (2, "write max_size 5MB in its block")


@pytest.mark.parametrize(("line", "code"), MISTAKES)
def test_a_mistake_has_its_code_its_line_and_a_cure(line, code):
    found = [one for one in findings(f"example.com {{\n\t{line}\n}}\n") if one.severity is Severity.ERROR]
    assert [one.code for one in found] == [code]
    assert 2 <= found[0].span.line <= 4
    assert found[0].span.file == "Caddyfile"
    assert found[0].help


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("ftp://a", 1),
        ("wss://a", 1),
        ("a:70000", 1),
        ("a:-1", 1),
        ("a:http", 1),
        ("http://a:443", 1),
        ("handle", 1),
    ],
)
def test_bad_addresses(address, line):
    found = findings(f"{address} {{\n\trespond x\n}}\n")
    assert [(one.code, one.span.line) for one in found] == [(Code.ZS0107, line)]


def test_two_sites_with_one_address():
    assert [one.code for one in findings("a {\n}\na {\n}\n")] == [Code.ZS0108]
    assert findings("http://a {\n}\nhttps://a {\n}\n") == ()


def test_every_mistake_of_a_file_is_reported_and_the_sound_rest_is_read():
    text = "a {\n\trespond\n\trespond ok\n\tfoo\n}\nb:99999 {\n}\nc {\n\trespond fine\n}\n"
    configuration, found = read_configuration(text, environment={})
    assert [(one.code, one.span.line) for one in sorted(found, key=lambda one: one.span.line)] == [
        (Code.ZS0102, 2),
        (Code.ZS0101, 4),
        (Code.ZS0107, 6),
    ]
    assert [site.addresses[0].host for site in configuration.sites] == ["a", "c"]


def test_what_changes_no_answer_is_a_warning():
    configuration, _ = read_configuration("a {\n\tpush /x\n\trespond x\n}\n", environment={})
    (found,) = find_unsupported(configuration)
    assert (found.code, found.severity, found.span.line) == (Code.ZS0110, Severity.WARNING, 2)


def test_basic_auth_without_accounts_lets_nobody_in_and_says_so():
    configuration, (found,) = read_configuration("a {\n\tbasic_auth\n\trespond x\n}\n", environment={})
    assert (found.code, found.severity) == (Code.ZS0102, Severity.WARNING)
    assert configuration.sites[0].routes[0].handlers[0] == BasicAuth(())
    assert "accounts" not in str(adapt_configuration(configuration))


def test_a_second_site_without_braces_is_explained():
    (found,) = findings("a.example\nrespond x\nb.example\n")
    assert "second site" in found.message


def test_a_missing_file_is_a_finding(tmp_path):
    (found,) = read_configuration(tmp_path / "none")[1]
    assert found.code is Code.ZS0111


WORDS = st.sampled_from(
    [
        "respond",
        "handle",
        "{",
        "}",
        "\n",
        "@m",
        "path",
        "not",
        "/x",
        '"',
        "reverse_proxy",
        "a:1",
        "header",
        "?X",
        "tls",
        "internal",
        "example.com",
        ":80",
        "import",
        "{path}",
        "uri",
        "query",
        "*",
        "log",
        "{$A:b}",
        "bind",
        ">",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, max_size=30).map(" ".join))
def test_no_text_raises(text):
    read_configuration(f"a {{\n{text}\n}}", environment={})
    read_configuration(text, environment={})
