"""Expressions are refused where cel-go's checker refuses them, with their own error and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zeroserve_ir.expressions.checking import compile_expression, find_placeholders
from zeroserve_ir.expressions.lowering import as_matcher_sets
from zeroserve_ir.expressions.nodes import ExpressionError
from zeroserve_ir.tree import MatchMethod, MatchNot, MatchPath

REFUSED = [
    ("", 0, "a value expected, not the end"),
    ("1 <", 3, "a value expected, not the end"),
    ("1 == 'a'", 2, "int is never equal to string"),
    ("1 + 'a' == 2", 2, "+ takes no (int, string)"),
    ("{http.vars.x}", 0, "the result is dyn, not a bool"),
    ("'a'", 0, "the result is string, not a bool"),
    ("foo('a')", 0, "unknown function 'foo'"),
    ("type(1) == type(2)", 0, "function type is not supported yet"),
    ("x == 1", 0, "unknown name 'x'"),
    ("path(1)", 0, "matchers take constant texts"),
    ("path_regexp('(')", 0, "invalid regular expression: missing ): ("),
    ("'a'.matches('(?!a)')", 4, "invalid regular expression: invalid perl operator: (?!"),
    ("remote_ip('10.0.0.0/33')", 0, "'10.0.0.0/33' is neither an address nor a range"),
    ("9223372036854775808 == 1", 0, "9223372036854775808 does not fit 64 bits"),
    ("'open", 0, "quote ' is not closed"),
    ("true true", 5, "unexpected 'true'"),
    ("(" * 100 + "true" + ")" * 100, 65, "nested deeper than 64"),
    ("[1].all(1, true)", 4, "all begins with a variable's name"),
    ("file('a') && {path} == 'b'", 0, "file() beside values is not supported yet"),
]


@pytest.mark.parametrize(("text", "offset", "message"), REFUSED, ids=[one[0][:30] for one in REFUSED])
def test_is_refused_with_its_place(text, offset, message):
    with pytest.raises(ExpressionError) as refused:
        compile_expression(text)
    assert (refused.value.message, refused.value.offset) == (message, offset)


def test_matchers_alone_become_matcher_sets():
    sets = as_matcher_sets(compile_expression("(path('/a') || path('/b')) && !method('GET')"))
    either = MatchNot(((MatchNot(((MatchPath(("/a",)),), (MatchPath(("/b",)),))),),))
    assert sets == ((either, MatchNot(((MatchMethod(("GET",)),),))),)


def test_values_stay_an_expression():
    assert as_matcher_sets(compile_expression("path('/a') && {http.request.host} == 'b'")) is None


def test_placeholders_of_values_and_of_matchers_are_found():
    node = compile_expression(r"path({http.request.uri.query.p}, '/\{env.X}') && ph(req, 'env.Y') == 'z'")
    assert set(find_placeholders(node)) == {"http.request.uri.query.p", "env.X", "env.Y"}


WORDS = """1 2.5 'a' true null {http.vars.x} x ( ) [ ]
{ } , : ? . + - * / % ! && || == < in has( all( path( r' \" """
PARTS = st.sampled_from(WORDS.split())


@given(st.lists(PARTS, max_size=12).map(" ".join) | st.text(max_size=20))
def test_any_text_is_taken_or_refused(text):
    try:
        compile_expression(text)
    except ExpressionError as error:
        assert 0 <= error.offset <= len(text) * 3 + 20
