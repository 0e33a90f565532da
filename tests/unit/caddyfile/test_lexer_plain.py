"""Plain words are taken quickly and come out as the careful way gives them."""

from hypothesis import given, settings
from hypothesis import strategies as st
from zeroserve_ir.caddyfile.lexer import _Lexer, tokenize

PIECES = [
    "a",
    "b{",
    "{",
    "}",
    '"',
    "`",
    "#",
    "\\",
    "\n",
    "\r\n",
    " ",
    "\t",
    "<",
    "<<EOF",
    "EOF",
    "\u00a0",
    "{$A}",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=16).map("".join)


@settings(max_examples=1500)
@given(TEXTS, st.sampled_from([{}, {"A": "q\nz"}]))
def test_plain_words_are_taken_as_the_careful_way_takes_them(text, environment):
    quick = tokenize(text, "Caddyfile", environment)
    take_plain, _Lexer.take_plain = _Lexer.take_plain, lambda self, tokens: None
    try:
        assert quick == tokenize(text, "Caddyfile", environment)
    finally:
        _Lexer.take_plain = take_plain
