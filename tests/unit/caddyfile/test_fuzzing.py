"""Files of the tests, damaged at random: whatever comes of it is read or refused, whole, at a place.

`HYPOTHESIS=random` draws new examples; `FUZZ_EXAMPLES=100000` so many of them (the nightly run).
"""

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zeroserve_ir.caddyfile.adapting import adapt_configuration
from zeroserve_ir.caddyfile.decoding import decode_configuration, encode_configuration
from zeroserve_ir.caddyfile.formatter import format_text
from zeroserve_ir.caddyfile.judging import find_unsupported
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.caddyfile.printer import print_configuration
from zeroserve_ir.caddyfile.printer_words import UnprintableError
from zeroserve_ir.caddyfile.settling import settle_configuration
from zeroserve_ir.diagnostics import Severity

TESTS = Path(__file__).parents[2]
TEXTS = [
    re.sub(r"{\$\w+}", "1234", path.read_text())
    for folder in (TESTS / "golden" / "caddyfile", TESTS / "differential" / "answers" / "cases")
    for path in sorted(folder.glob("*.caddyfile"))
]
PIECES = [
    *(
        "{",
        "}",
        '"',
        "`",
        "#",
        "\\",
        "<<E",
        "\n",
        "{$X}",
        "{args[0]}",
        "{block}",
        "{path}",
        "@m",
        "*",
        "-1",
        "é",
    ),
    *(
        "respond",
        "handle",
        "import",
        "route",
        "not",
        "file",
        "header",
        "map",
        "{\n",
        "}\n",
        "0",
        "999999999999",
    ),
    *(
        "&(x)",
        "(x)",
        "http://",
        ":0",
        "[::1",
        "/a*",
        "regexp",
        "(?P<a",
        "{re.a.1}",
        "1h",
        "1GB",
        "!",
        ">X",
        "?X",
    ),
]
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))


@st.composite
def damaged_texts(draw):
    """Return a text of the tests with a few words deleted, doubled, moved or written in between."""
    words = re.findall(r"\n|[^\S\n]+|\S+", draw(st.sampled_from(TEXTS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(words) - 1)))
        match draw(st.sampled_from(["delete", "double", "move", "write", "replace", "cut"])):
            case "delete":
                del words[at : at + draw(st.integers(1, 8))]
            case "double":
                words[at:at] = words[at : at + draw(st.integers(1, 30))]
            case "move":
                taken = words[at : at + 4]
                del words[at : at + 4]
                to = draw(st.integers(0, len(words)))
                words[to:to] = taken
            case "write":
                words[at:at] = [" ", draw(st.sampled_from(PIECES)), " "]
            case "replace":
                words[at : at + 1] = [draw(st.sampled_from(PIECES))]
            case _:
                words = words[: max(at, 1)]
    return "".join(words)


def errors_of(findings):
    return [one for one in findings if one.severity is Severity.ERROR]


@settings(max_examples=EXAMPLES, deadline=None)
@given(text=damaged_texts())
def test_a_damaged_file_is_read_whole_or_refused_at_a_place(text):
    configuration, findings = read_configuration(text, environment={})
    assert all(one.span.line >= 1 and one.message for one in findings)
    find_unsupported(configuration)
    if errors_of(findings):
        return
    value = json.loads(json.dumps(adapt_configuration(configuration)))
    adapted, found = decode_configuration(json.dumps(value), "x.json")
    assert found == []
    assert encode_configuration(adapted) == value
    settle_configuration(adapted)


@settings(max_examples=EXAMPLES, deadline=None)
@given(text=damaged_texts())
def test_what_was_read_prints_to_a_file_that_is_read(text):
    configuration, findings = read_configuration(text, environment={})
    if errors_of(findings):
        return
    try:
        printed = print_configuration(configuration)
    except UnprintableError:
        return
    again, findings = read_configuration(printed, environment={})
    assert errors_of(findings) == [], printed
    assert len(again.sites) == len(configuration.sites)


@settings(max_examples=EXAMPLES, deadline=None)
@given(text=damaged_texts())
def test_a_damaged_file_is_formatted(text):
    assert format_text(text).endswith("\n")


MISTAKES = [
    "frobnicate",
    "redir",
    "respond @missing x",
    "header_up x",
    "reverse_proxy {\nlb_policy nothing\n}",
    "@m path_regexp (",
    "request_body {\nmax_size much\n}",
    "handle {\nfrobnicate\n}",
]


@settings(max_examples=60, deadline=None)
@given(chosen=st.lists(st.sampled_from(MISTAKES), min_size=1, max_size=6))
def test_every_mistake_of_a_file_is_reported(chosen):
    text = "".join(f"h{index}.example {{\n{one}\n}}\n" for index, one in enumerate(chosen))
    _, findings = read_configuration(text, environment={})
    begins = [number for number, line in enumerate(text.split("\n"), 1) if line.endswith(".example {")]
    lines = {one.span.line for one in errors_of(findings)}
    for first, after in zip(begins, [*begins[1:], len(text)], strict=True):
        assert lines & set(range(first + 1, after)), text


@pytest.mark.parametrize(
    "text", ["a {\n" * 500, "{" * 5000, "import x\n" * 2000, '"' + "a" * 100_000, "\\\n" * 9999]
)
def test_absurd_texts_end(text):
    read_configuration(text, environment={})
