"""Any text is parsed or refused, and what was parsed prints to text that parses to the same."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zeroserve_ir.caddyfile.formatter import format_text
from zeroserve_ir.caddyfile.judging import find_unsupported
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.caddyfile.parser import parse
from zeroserve_ir.caddyfile.printer_surface import print_tree
from zeroserve_ir.caddyfile.printer_words import UnprintableError

GOLDEN = sorted((Path(__file__).parents[2] / "golden" / "caddyfile").glob("*.caddyfile"))
WORDS = st.one_of(
    st.sampled_from(
        [
            *("respond", "tls", "log", "bind", "servers", "handle", "header", "@m", "import", "{args[0]}"),
            *(
                "output",
                "file",
                "issuer",
                "acme",
                "client_auth",
                "trust_pool",
                "file_server",
                "10s",
                "{path}",
            ),
            *("reverse_proxy", "localhost:1", "invoke", "x", "&(x)", "(x)", "{block}", "order", "first"),
            *("/a/*", "*", "1", "-1", "", "\\", "{", "}", "{}", "<<E", '"', "`", "#", "{$X}", "é", ","),
        ]
    ),
    st.text(max_size=5),
)
TEXTS = st.lists(
    st.one_of(WORDS, st.sampled_from(["\n", "\n", " {\n", "\n}\n", "a.example {\n", "{\n"])), max_size=40
).map(" ".join)


def shape(segments):
    """Return a surface tree without the places of its tokens."""
    return [
        (one.name.text, [token.text for token in one.arguments], one.block and shape(one.block))
        for one in segments
    ]


def shape_of(tree):
    sites = [([key.text for key in site.keys], shape(site.segments)) for site in tree.sites]
    return shape(tree.options), sites, [(one.name.text, shape(one.segments)) for one in tree.named_routes]


@settings(max_examples=400, deadline=None)
@given(text=TEXTS)
def test_any_text_is_read_or_refused_at_a_place(text):
    configuration, findings = read_configuration(text, environment={})
    assert all(one.span.file and one.message for one in findings)
    find_unsupported(configuration)


@settings(max_examples=400, deadline=None)
@given(text=TEXTS)
def test_what_was_parsed_prints_to_the_same_tree(text):
    tree, findings = parse(text, "Caddyfile", {})
    if findings:
        return
    try:
        printed = print_tree(tree)
    except UnprintableError:
        return
    again, findings = parse(printed, "Caddyfile", {})
    assert findings == []
    assert shape_of(again) == shape_of(tree)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case.stem)
def test_golden_files_print_to_the_same_tree(case):
    tree, findings = parse(case.read_text(), "Caddyfile", {})
    assert findings == []
    again, findings = parse(print_tree(tree), "Caddyfile", {})
    assert findings == []
    assert shape_of(again) == shape_of(tree)


@settings(max_examples=200, deadline=None)
@given(text=TEXTS)
def test_any_text_is_formatted(text):
    assert format_text(text).endswith("\n")
