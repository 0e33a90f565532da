"""What is wrong with plugins of a Caddyfile, and with calls of them: at which line, and with which cure."""

import pytest
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.drafting_plugins import DraftedPlugin, find_faults, list_plugins, resolve_plugin
from zeroserve_ir.plugins.modules import Hook, PluginFunction
from zeroserve_ir.sources import NOWHERE
from zeroserve_ir.tree import CallPlugin

SITE = """{
	debug
	plugins {
		first first.s
		second second.s {
			budget 5
		}
		third third.s
	}
}
:80 {
	respond hello
}
"""
SOUND = b".function f\n    mov %r0, 0\n    exit\n"
NEEDY = b".function f\n    mov %r1, 0x30200\n    mov %r2, 8\n    call read_request_body\n    exit\n"
FUNCTIONS = (
    PluginFunction("check", 1, Hook.FUNCTION),
    PluginFunction("gate", 2, Hook.REQUEST),
    PluginFunction("stamp", 3, Hook.RESPONSE),
    PluginFunction("act", 4, Hook.FUNCTION),
)


def read_file(path):
    if path == "third.s":
        raise FileNotFoundError(2, "No such file or directory", path)
    return {"first.s": SOUND, "second.s": NEEDY}[path]


def test_each_finding_is_at_the_line_of_its_plugin():
    configuration, findings = read_configuration(SITE, environment={})
    assert findings == ()
    found = [(one.code.name, one.span.line) for one in find_faults(configuration, read_file)]
    assert found == [("ZS0310", 5), ("ZS0111", 8)]


@pytest.mark.parametrize(
    ("function", "message", "cure"),
    [
        ("check", None, None),
        ("miss", "plugin p exports no function miss", "call act, check"),
        ("gate", "gate of plugin p is a request hook, which no route calls", "write zeroserve_plugin p, "),
        ("stamp", "stamp of plugin p is a response hook, which no route calls", "write zeroserve_plugin p, "),
    ],
)
def test_a_call_names_a_function_that_is_no_hook(function, message, cure):
    found = []
    drafted = {"p": DraftedPlugin(FUNCTIONS, (), ())}
    entries = {"p": {"file": "p.o"}}
    resolve_plugin(CallPlugin("p", function, "{}"), entries, drafted, found.append, NOWHERE)
    assert [one.message for one in found] == ([message] if message else [])
    assert all(one.help.startswith(cure) for one in found)


def test_entries_of_the_option_are_those_with_a_line():
    options = read_configuration(SITE, environment={})[0].options
    assert {name for name, _ in options.plugin_spans} == set(list_plugins(options))
