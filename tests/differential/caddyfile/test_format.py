"""`zeroserve fmt` prints what `caddy fmt` prints."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zeroserve_ir.caddyfile.formatter import format_text

CASES = sorted((Path(__file__).parents[2] / "golden" / "caddyfile").glob("*.caddyfile"))
CORPORA = Path(__file__).parents[4] / "shared" / "corpora" / "caddy"
WILD = sorted(path for path in (CORPORA / "wild").rglob("*") if path.is_file() and path.suffix != ".json")
PIECES = st.sampled_from(
    [
        "{",
        "}",
        " ",
        "\n",
        "\n\n\n",
        "\t",
        "#",
        "# note {\n",
        '"',
        "`",
        "\\",
        "<<EOF\n",
        "EOF\n",
        "word",
        "{$X}",
        "{path}",
        "import x\n",
        "example.com {\n",
        "respond a\n",
        "}\n",
        "<",
        "é",
        "a{b",
        "{ ",
        " {",
        "\\\n",
    ]
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_committed_fixtures(case, stock_caddy):
    untidy = case.read_text().replace("\t", "   ").replace("\n", "\n\n\n", 1)
    assert format_text(untidy) == stock_caddy.format(untidy)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(PIECES, min_size=1, max_size=25).map("".join))
def test_any_text(text, stock_caddy):
    assert format_text(text) == stock_caddy.format(text)


@pytest.mark.corpora
@pytest.mark.parametrize("case", WILD, ids=lambda case: case.parent.name)
def test_files_of_strangers(case, stock_caddy):
    text = case.read_bytes().decode(errors="replace")
    formatted = format_text(text)
    assert formatted == stock_caddy.format(text)
    assert format_text(formatted) == stock_caddy.format(formatted)
