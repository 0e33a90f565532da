"""Files are read in a child without rights, and the child is not believed."""

import json
import sys

import pytest
from fuzzing.plugin_files import bomb_line_info
from zeroserve_ir.plugins.faults import Fault, PluginError
from zeroserve_ir.plugins.loading import load
from zeroserve_ir.plugins.modules import FILE_NAME_LENGTH_MAX
from zeroserve_ir.plugins.reading import READING_S_MAX, ask_child, decode_answer, encode_answer, read_confined

TEXT = """
static const char names[][4] = {"one", "two"};
__attribute__((section("function"), used)) unsigned long long f(unsigned long long *context) {
  return names[*context & 1][1];
}
"""


def test_the_child_gives_what_loading_gives(compile_text):
    content = compile_text(TEXT)
    assert read_confined(content) == load(content)


def test_the_childs_refusal_arrives(compile_text):
    with pytest.raises(PluginError) as caught:
        read_confined(compile_text("unsigned long long f(void) { return 1; }"))
    assert caught.value.fault is Fault.NO_FUNCTIONS
    assert "f" in caught.value.found


def answer(compile_text, **changes):
    fields = json.loads(encode_answer(load(compile_text(TEXT))))
    return json.dumps(fields | changes).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"functions": []},
        {"functions": [["f", 2, "function"]]},
        {"functions": [["f", 1, "function"], ["f", 2, "function"]]},
        {"functions": [["f g", 1, "function"]]},
        {"functions": [["f", 1, "kprobe"]]},
        {"bss_bytes": 1 << 20},
        {"bss_bytes": -1},
        {"code": "A" * (1 << 20)},
        {"code": "%"},
        {"code": None},
        {"lines": [[1]]},
        {"lines": [[1, "plugin.c", 7], [1, "plugin.c", 8]]},
        {"lines": [[2, "plugin.c", 7], [1, "plugin.c", 8]]},
        {"lines": [[1 << 40, "plugin.c", 7]]},
        {"lines": [[-1, "plugin.c", 7]]},
        {"lines": [[1, "plugin.c", 1 << 40]]},
        {"lines": [[1, "p" * 1000, 7]]},
        {"lines": [[1, "\x1b[2J", 7]]},
        {"fault": "NO_SUCH"},
    ],
    ids=str,
)
def test_a_child_that_speaks_nonsense(compile_text, changes):
    assert decode_answer(answer(compile_text))
    with pytest.raises(PluginError) as caught:
        decode_answer(answer(compile_text, **changes))
    assert caught.value.fault is Fault.LOADER_DIED


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"1", b"[" * 100000])
def test_a_child_that_writes_something_else(content):
    with pytest.raises(PluginError):
        decode_answer(content)


SAYING = {
    "for ever": ("import os\nwhile os.write(1, bytes(65536)): pass", "more than 4096 bytes said"),
    "a byte too much": ("import os; os.write(1, bytes(4097))", "more than 4096 bytes said"),
    "nothing, and does not end": ("import time; time.sleep(600)", "no end within 1 s"),
    "all, and does not end": ("import os, time; os.close(1); time.sleep(600)", "no end within 1 s"),
    "something, and fails": ("import os; os.write(1, b'x'); os._exit(3)", "exit code 3"),
}


@pytest.mark.parametrize(("program", "found"), SAYING.values(), ids=SAYING)
def test_a_child_that_says(program, found):
    # A slow start of Python is no answer of the others.
    timeout_s = 1 if "sleep" in program else READING_S_MAX
    with pytest.raises(PluginError) as caught:
        ask_child([sys.executable, "-c", program], b"", answer_bytes_max=4096, timeout_s=timeout_s)
    assert caught.value.found == found


def test_a_child_need_not_read_what_it_is_given():
    assert ask_child([sys.executable, "-c", "print('done')"], b"z" * (1 << 20)) == b"done\n"


def test_a_child_may_answer_as_much_as_is_taken():
    program = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"
    content = b"z" * (1 << 20)
    assert ask_child([sys.executable, "-c", program], content, answer_bytes_max=len(content)) == content


def test_what_a_file_is_named_reaches_no_terminal_as_it_is():
    answered = json.dumps({"fault": "NO_FUNCTIONS", "found": "\x1b[2J\nhidden"}).encode()
    with pytest.raises(PluginError) as caught:
        decode_answer(answered)
    assert caught.value.diagnose().render_short().isprintable()


def test_debug_information_says_one_line_an_instruction_however_much_of_it_there_is():
    module = read_confined(bomb_line_info(functions=1300, lines=60_000).write())
    (line,) = module.lines
    assert line.line == 7
    assert line.file.isprintable() and len(line.file) <= FILE_NAME_LENGTH_MAX
