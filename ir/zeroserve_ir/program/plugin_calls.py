"""Lowering of `zeroserve_call`: the row of the call, and the code around it.

In: the handler. Out: operations of the emitter and a row of the `Tables` message. Called by lowering. Rule:
what the plugin decides is the route's action as it is; a call that waits is made again when it need not wait.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from zeroserve_ir import tree
from zeroserve_ir.program import abi
from zeroserve_ir.program.emitting import Emitter
from zeroserve_ir.program.tables import TableBuilder
from zeroserve_ir.program.texts import parse_text, placeholders

NO_FUNCTION = "-"
"""No function has this name."""


def lower_plugin_call(
    emitter: Emitter,
    builder: TableBuilder,
    handler: tree.CallPlugin | tree.AttachPlugin,
    add_resume: Callable[[str], int],
) -> None:
    """Write a call; `add_resume` gives the entry at which the program goes on at a label.

    An attachment whose plugin nobody looked up calls a function that no plugin has: 500.
    """
    if isinstance(handler, tree.AttachPlugin):
        handler = tree.CallPlugin(handler.plugin, NO_FUNCTION, handler.config)
    row = add_plugin_call(builder, handler)
    again, waiting, going_on = (emitter.new_label() for _ in range(3))
    entry = add_resume(again)
    emitter.place(again)
    emitter.call_row("call_plugin", row)
    emitter.jump_if_zero(going_on)
    emitter.jump_if_result(abi.Action.SUSPEND, waiting)
    emitter.finish_with_result()
    emitter.place(waiting)
    operation = abi.Operation.CALL_PLUGIN | row << 8
    emitter.finish_with(abi.Action.SUSPEND, operation, detail=entry)
    emitter.place(going_on)


def add_plugin_call(builder: TableBuilder, handler: tree.CallPlugin) -> int:
    """Add a call; strings of its config that have placeholders are texts by JSON pointer (RFC 6901)."""
    tables = builder.tables
    row = tables.plugin_calls.add(plugin=handler.plugin, function=handler.function, config=handler.config)
    for pointer, text in _strings(json.loads(handler.config), ""):
        if placeholders(text):
            row.texts.add(pointer=pointer, text=parse_text(text))
    for name, upstream in handler.upstreams:
        proxy = builder.add_proxy(tree.ReverseProxy((upstream,)))
        row.proxies.add(upstream=name, proxy=proxy)
    return len(tables.plugin_calls) - 1


def _strings(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    match value:
        case str():
            yield pointer, value
        case dict():
            for name, member in value.items():
                token = name.replace("~", "~0").replace("/", "~1")
                yield from _strings(member, f"{pointer}/{token}")
        case list():
            for index, item in enumerate(value):
                yield from _strings(item, f"{pointer}/{index}")
