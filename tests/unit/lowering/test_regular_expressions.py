"""Regular expressions that pass here are compiled by the engine: one that it refused would close its host."""

import bisect
import random
import subprocess
import sys
from pathlib import Path

import pytest
from zeroserve_dataplane.jit.inspecting import ExecutionError, execute
from zeroserve_engine import find_binary
from zeroserve_ir._pb import execution_pb2, resources_pb2
from zeroserve_ir.program import abi
from zeroserve_ir.program.assembly import assemble
from zeroserve_ir.regular_expressions import PatternError, check_pattern, weigh_pattern

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


def make_execution(*patterns, target="/", searching=False):
    """Compile the patterns, and search for each in the target's path."""
    calls = "".join(f"mov %r1, {row}\ncall 2\n" for row in range(len(patterns))) if searching else ""
    code = assemble(f"{calls}mov %r0, 0\nexit").code
    rows = [
        resources_pb2.Regexp(pattern=pattern, name="x", subject=resources_pb2.NORMALISED_PATH)
        for pattern in patterns
    ]
    image = resources_pb2.Image(abi=abi.ABI_VERSION, target="ebpf", code_bytes=len(code))
    request = execution_pb2.RequestHead()
    request.CopyFrom(REQUEST)
    request.target = target
    return execution_pb2.Execution(
        image=image,
        code=code,
        tables=resources_pb2.Tables(regexps=rows),
        fuel=abi.FUEL_DEFAULT,
        request=request,
    )


def compile_in_engine(*patterns):
    """Raise ExecutionError where the engine refuses one."""
    execute([str(find_binary())], [make_execution(pattern) for pattern in patterns])


MEASURE = """import os, sys
os.posix_spawn(sys.argv[1], sys.argv[1:], {})
print("", os.wait4(-1, 0)[2].ru_maxrss, sep="\\n")
"""


def measure_engine(execution, folder):
    """The bytes that an engine had at its peak; a small process starts it, since a parent's peak counts."""
    content = execution.SerializeToString()
    (folder / "given").write_bytes(len(content).to_bytes(4, "little") + content)
    with Path(folder / "given").open("rb") as given:
        command = [sys.executable, "-S", "-c", MEASURE, str(find_binary()), "execute"]
        printed = subprocess.run(command, stdin=given, capture_output=True, check=True).stdout
    return int(printed.splitlines()[-1]) << 10


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
        r"[\pL-/]]",
        r"a(?i)b+\(?i\)+\Q(?i)+\E[(?i)]+[[:alpha:](?i)]+",
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
        (r"(?:\b)(?is){0,2}?", "no argument for repetition operator after (?is)", "before (?is)"),
        ("(?<a>a)(?P<a>b)", "invalid name of a group: a", "name each group once"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_cure(pattern, message, cure):
    with pytest.raises(PatternError) as caught:
        check_pattern(pattern)
    assert message in str(caught.value)
    assert cure in caught.value.cure


ATOMS = r"""
    a b é . ^ $ \b \B \A \z \d \W \s { } {,3} a{ ] - \x41 \x{263a} \101 \0 \a \v \- \/ \< \C \1 \8 \Z \G \h \e
    \pL \PL \p{Greek} \p{^Greek} \p{Any} [[:alpha:]] [[:^alpha:]] [^[:word:]] [a-z] []a] [^]a] [a&&b] [a--b]
    [-a] [a-] [\p{L}-a] [\pL-/] [\d-a] [\x41-\x5a] [\pL&&a] [z-a] [[:foo:]] [a~~b] [[]
    (?i)k (?s). (?U)a* (?m)^ (?i) (?i-s) (?:) () (?P<n>a) (?<n>a) (?#c) (?>a) (?=a) \Qa.b\E
"""
REPETITIONS = "* + ? *? {2} {0} {0,} {1,2} {2,}? {,2} {2,1} {1001} ** ?+ {2}*"


def make_pattern(chance, depth=0):
    """A pattern of anything, which may be none."""
    inner = (
        [make_pattern(chance, depth + 1) for _ in range(2)] if depth < 3 and chance.random() < 0.6 else None
    )
    if inner is None:
        made = chance.choice(ATOMS.split())
    else:
        shape = chance.choice(["{}{}", "({}){}", "(?:{}){}", "(?i:{}){}", "{}|{}", "[{}{}]"])
        made = shape.format(*inner)
    return made + chance.choice(REPETITIONS.split()) * (chance.random() < 0.3)


@pytest.mark.parametrize("seed", range(4))
def test_any_pattern_that_passes_is_compiled(seed):
    chance = random.Random(seed)
    made = {make_pattern(chance) for _ in range(3_000)}
    taken = sorted(filter(passes, made))
    assert 500 < len(taken) < len(made)
    compile_in_engine(*taken)


@pytest.mark.parametrize(
    "pattern",
    ["(.*)a.{1000}.{1000}.{1000}", "([ab]?)" * 4000 + "c$"],
    ids=["states", "groups"],
)
def test_a_search_that_could_hold_up_a_thread_ends_the_request(pattern):
    check_pattern(pattern)
    given = make_execution(pattern, target="/" + "ab" * 7_000 + "c", searching=True)
    (outcome,) = execute([str(find_binary())], [given])
    assert outcome.trapped
    assert "its regular expressions take too long" in outcome.trap


def test_a_constant_pattern_of_an_expression_may_be_as_large_as_any_other():
    pattern = "(.*)a.{1000}.{300}"
    check_pattern(pattern)
    node = resources_pb2.ExpressionNode
    call = resources_pb2.ExpressionCall(function="matches", operands=[0, 1])
    given = make_execution()
    given.tables.expressions.add(nodes=[node(placeholder="path"), node(text=pattern), node(call=call)])
    execute([str(find_binary())], [given])


def test_hundreds_of_ordinary_patterns_are_searched_for():
    patterns = [rf"^/api/v{number}/([^/]+)/items/([0-9]+)/(.*)\.html$" for number in range(400)]
    given = make_execution(*patterns, target="/api/v1/" + "x" * 400, searching=True)
    (outcome,) = execute([str(find_binary())], [given])
    assert not outcome.trapped, outcome.trap


@pytest.mark.parametrize(
    "pattern",
    [
        "(.*)a{}.{{1000}}.{{1000}}.{{300}}",
        r"(?:\pL{}|\pN){{10}}",
        "(?:foo{}|bar|b[^/]z){{900}}",
        "([ab]?){}" * 120,
    ],
    ids=["any", "classes", "words", "groups"],
)
def test_the_heaviest_patterns_of_a_host_need_no_more_than_they_weigh(pattern, tmp_path):
    patterns = [pattern.replace("{}", str(number)).format() for number in range(10)]
    target = "/ab"
    bare = measure_engine(make_execution(), tmp_path)
    whole = measure_engine(make_execution(*patterns, target=target, searching=True), tmp_path)
    weight = sum(map(weigh_pattern, patterns))
    lazy_bytes = 2 << 20
    assert whole - bare <= weight + len(patterns) * lazy_bytes
