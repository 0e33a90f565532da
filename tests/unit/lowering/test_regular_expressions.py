"""Regular expressions that pass here are compiled by the engine: one that it refused would close its host."""

import bisect

import pytest
from zeroserve_dataplane.jit.inspecting import ExecutionError, execute
from zeroserve_engine import find_binary
from zeroserve_ir._pb import execution_pb2, resources_pb2
from zeroserve_ir.program import abi
from zeroserve_ir.program.assembly import assemble
from zeroserve_ir.regular_expressions import PatternError, check_pattern

REQUEST = execution_pb2.RequestHead(
    method="GET",
    target="/",
    scheme="http",
    fields=[execution_pb2.Field(name="host", value=b"a.test")],
    peer="127.0.0.1:9",
    http_minor=1,
)
PARTS = [
    r"\pL",
    r"\PL",
    r"[\pL\pN_-]",
    r"\p{Greek}",
    r"\p{Han}",
    r"\p{Nd}",
    r"\W",
    "(?i:[a-z])",
    "[^/]",
    ".",
    "(a)",
    "(?:[^/]*?x)",
    "(?:foo|bar|b[^/]z)",
    r"(?:\bé)",
]


def passes(pattern):
    try:
        check_pattern(pattern)
    except PatternError:
        return False
    return True


def compile_in_engine(pattern):
    """Raise ExecutionError where the engine refuses it."""
    code = assemble("mov %r0, 0\nexit").code
    tables = resources_pb2.Tables(regexps=[resources_pb2.Regexp(pattern=pattern, name="x")])
    image = resources_pb2.Image(abi=abi.ABI_VERSION, target="ebpf", code_bytes=len(code))
    given = execution_pb2.Execution(image=image, code=code, tables=tables, fuel=1, request=REQUEST)
    execute([str(find_binary())], [given])


def test_the_engine_refuses_what_is_no_pattern():
    with pytest.raises(ExecutionError, match="regular expression"):
        compile_in_engine("(?!a)")


def repeat(part, times):
    """The part so many times; RE2 counts to 1,000."""
    return f"{part}{{1000}}" * (times // 1000) + f"{part}{{{times % 1000}}}"


@pytest.mark.parametrize("part", PARTS)
def test_the_longest_that_passes_is_compiled(part):
    beyond = bisect.bisect_left(range(100_000), True, key=lambda times: not passes(repeat(part, times)))
    assert beyond > 10
    compile_in_engine(repeat(part, beyond - 1))


@pytest.mark.parametrize(
    "pattern",
    [
        r"\p{^L}[\P{^Lu}]",
        r"/\B",
        r"^/(?P<first>[a-z]+)/(?<second>\d+)$",
        r"\\C",
        r"\pN\PN[[:alpha:]]\Q(?!a)\E\x{263a}\101",
        "(?i)^/[^/]{1,255}/(.*?)(?-i:A|$)",
    ],
)
def test_what_go_takes_is_compiled(pattern):
    check_pattern(pattern)
    compile_in_engine(pattern)


@pytest.mark.parametrize(
    ("pattern", "message", "cure"),
    [
        ("(?!a)", "invalid perl operator: (?!", "without look-around"),
        ("a{1001}", "invalid repetition size: {1001}", "syntax of RE2"),
        (r"\pL{1000}", "too large", "repeat less"),
        (r"a\C", r"invalid escape sequence: \C", "leave it out"),
        (r"[\p{Cs}]", r"invalid escape sequence: \p{Cs}", "leave it out"),
        ("(?P<é>a)", "invalid name of a group: é", "letters of ASCII"),
        ("(?<1a>a)", "invalid name of a group: 1a", "no digit first"),
        ("(?<a>a)(?P<a>b)", "invalid name of a group: a", "name each group once"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_cure(pattern, message, cure):
    with pytest.raises(PatternError) as caught:
        check_pattern(pattern)
    assert message in str(caught.value)
    assert cure in caught.value.cure
