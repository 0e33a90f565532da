"""Assembly text becomes a module with a dispatcher; faults name the line of the text."""

import pytest
from zeroserve_dataplane.interpreter import Interpreter, Memory
from zeroserve_dataplane.verifier import Verified, verify
from zeroserve_ir.plugins.assembling import assemble_module
from zeroserve_ir.program import abi
from zeroserve_ir.program.assembly import AssemblyTextError

TEXT = """
.ascii first "a\\u00e9"
.ascii second "xyz"
.function one
    mov %r0, $second
    exit
.function two
    mov %r0, $first.length
    exit
"""


class NoHelpers:
    def call(self, number, arguments, memory):
        raise AssertionError(number)


def run(module, entry):
    verified = verify(module.code, 0)
    assert isinstance(verified, Verified), verified
    return Interpreter(verified, Memory(), NoHelpers()).run(entry).result


def test_the_dispatcher_runs_the_function_of_an_entry():
    module = assemble_module(TEXT)
    assert [(one.name, one.entry) for one in module.functions] == [("one", 1), ("two", 2)]
    assert module.data == "aéxyz".encode()
    assert (run(module, 1), run(module, 2)) == (abi.HEAP + 3, 3)
    assert run(module, 3) == abi.encode_action(abi.Action.ERROR, detail=500)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("mov %r0, 0\nexit", 1),
        (".function f\nmov %r0, $absent\nexit", 2),
        ("\n.function f\nmove %r0, 0\nexit", 3),
        (".function f\nexit\n.constants 00", 3),
        ('.ascii x "\\q"\n.function f\nexit', 1),
        ("\ufeff.function f\nexit", 1),
        (".function f\nmov %r0 0\nexit", 2),
    ],
)
def test_faults_name_their_line(text, line):
    with pytest.raises(AssemblyTextError) as raised:
        assemble_module(text)
    assert raised.value.line == line
