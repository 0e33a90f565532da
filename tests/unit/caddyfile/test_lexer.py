"""Words, quotes, heredocs and places of tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zeroserve_ir.caddyfile.lexer import Quote, tokenize
from zeroserve_ir.codes import Code


def texts(text, environment=None):
    tokens, diagnostics = tokenize(text, "Caddyfile", environment or {})
    assert diagnostics == []
    return [token.text for token in tokens]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b\tc\nd", ["a", "b", "c", "d"]),
        ("a # comment {\nb", ["a", "b"]),
        ("a#b", ["a#b"]),
        ('"a b" "c \\" d" "\\n"', ["a b", 'c " d', "\\n"]),
        ('a"b c"', ['a"b', 'c"']),
        ('`raw \\ "x"`', ['raw \\ "x"']),
        ("a \\\n b", ["a", "b"]),
        ("a\\b", ["a\\b"]),
        ("\ufeffa\r\nb\r\n", ["a", "b"]),
        ("<<END\n\tone\n\t two\n\tEND x", ["one\n two", "x"]),
        ("<<END\nEND", [""]),
        ("\\<<END", ["<<END"]),
        ("a << b", ["a", "<<", "b"]),
        ('""', [""]),
    ],
)
def test_words(text, expected):
    assert texts(text) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('"open', Code.ZS0002),
        ("`open", Code.ZS0002),
        ("<<END\ntext", Code.ZS0002),
        ("<<\ntext", Code.ZS0001),
        ("<<<END\ntext\nEND", Code.ZS0001),
        ("<<E!\ntext\nE!", Code.ZS0001),
        ("<<END\n\ta\n b\n\tEND", Code.ZS0001),
    ],
)
def test_malformed_words_are_diagnosed(text, code):
    _, diagnostics = tokenize(text, "Caddyfile", {})
    assert [one.code for one in diagnostics] == [code]


def test_tokens_know_line_column_end_and_quote():
    tokens, _ = tokenize('a {\n  "b c" d', "f", {})
    places = [(token.span.line, token.span.column, token.span.end, token.quote) for token in tokens]
    assert places == [
        (1, 1, 2, Quote.NONE),
        (1, 3, 4, Quote.NONE),
        (2, 3, 8, Quote.DOUBLE),
        (2, 9, 10, Quote.NONE),
    ]


def test_environment_is_replaced_and_columns_stay_those_of_the_text():
    tokens, _ = tokenize("a {$LONG} {$MISSING:x y} {$NONE} end", "f", {"LONG": "1 2 3"})
    assert [token.text for token in tokens] == ["a", "1", "2", "3", "x", "y", "end"]
    assert [token.span.column for token in tokens] == [1, 3, 3, 3, 11, 11, 34]


def test_a_heredoc_counts_its_lines():
    tokens, _ = tokenize("<<E\na\nb\nE\nnext", "f", {})
    assert tokens[1].line == 5
    assert tokens[1].starts_line_after(tokens[0])


@given(st.text(alphabet=st.sampled_from(list('ab{}"`\\<#$ \n\r\tE:')), max_size=60))
def test_any_text_gives_tokens_or_one_diagnostic(text):
    tokens, diagnostics = tokenize(text, "f", {})
    assert len(diagnostics) <= 1
    lines = text.split("\n")
    for token in tokens:
        assert 1 <= token.span.line <= len(lines)
        assert token.span.column < token.span.end
