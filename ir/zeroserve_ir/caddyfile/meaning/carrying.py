"""Directives that are adapted and not acted upon: push, acme_server, fs, metrics, timeouts; and `invoke`.

In: the segment without its matcher. Out: carried values of the tree; whoever runs them decides
(`caddyfile.judging`). Syntax: modules/caddyhttp/push/caddyfile.go, caddyhttp/urlpatternmatcher.go.
"""

from __future__ import annotations

from zeroserve_ir.caddyfile.encoding import encode_operations
from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.authorities import read_acme_server
from zeroserve_ir.caddyfile.meaning.blocks import Field, read_fields, read_flag, read_size
from zeroserve_ir.caddyfile.meaning.headers import OperationsBuilder
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    duration_ns,
    integer,
    no_more_arguments,
    refusal,
    refuse_block,
    take_block,
    texts,
    wrong_count,
)
from zeroserve_ir.caddyfile.printer_surface import written_form
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree import Invoke, SetVariables
from zeroserve_ir.tree_carried import Carried, CarriedHandler, Json


def _carry(module: str, settings: Json, segment: Segment) -> CarriedHandler:
    return CarriedHandler(module, Carried.of(settings, written_form((segment,)), segment.span))


def read_push(segment: Segment, reading: Reading) -> CarriedHandler:
    """`push [<resource>] { [GET|HEAD] <resource> … headers { … } }`."""
    reading.leave_out(segment.arguments[1:], "push")
    resources: list[Json] = [{"target": token.text} for token in segment.arguments[:1]]
    headers = OperationsBuilder()
    for inner in segment.block or ():
        name = inner.name.text
        if name == "headers":
            no_more_arguments(inner)
            for line in inner.block or ():
                refuse_block(line)
                if len(line.arguments) > 2:
                    raise wrong_count(line, "FIELD [VALUE [REPLACEMENT]]")
                headers.read((line.name, *line.arguments), response=False)
        else:
            resources += _read_resources(inner)
    settings: Json = {"resources": resources} if resources else {}
    if operations := encode_operations(headers.build()):
        settings["headers"] = operations
    return _carry("push", settings, segment)


def _read_resources(line: Segment) -> list[Json]:
    """Each word of a line is a resource; GET and HEAD say how the next one is asked for."""
    refuse_block(line)
    resources: list[Json] = []
    words = iter(texts((line.name, *line.arguments)))
    for word in words:
        if word not in ("GET", "HEAD"):
            resources.append({"target": word})
        elif target := next(words, ""):
            resources.append({"method": word, "target": target})
        else:
            raise wrong_count(line, f"{word} RESOURCE")
    return resources


def read_timeouts(segment: Segment, reading: Reading) -> CarriedHandler:
    """`timeouts { read_timeout DURATION [RATE]; write_timeout …; max_write_chunk SIZE }`."""
    found: Json = {}
    for inner in take_block(segment, reading):
        name = inner.name.text
        if name in _RATED:
            refuse_block(inner)
            if len(inner.arguments) not in (1, 2):
                raise wrong_count(inner, f"{name} DURATION [BYTES_A_SECOND]")
            found[name] = _read_hours(inner.arguments[0])
            if len(inner.arguments) == 2:
                found[_RATED[name]] = integer(inner.arguments[1])
        else:
            read_fields((inner,), _TIMEOUTS, "timeouts", reading, found)
    return _carry("timeouts", {name: value for name, value in found.items() if value}, segment)


def _read_hours(token: Token) -> int:
    if "d" in token.text:
        raise refusal(Code.ZS0103, f"{token.text!r} is not a duration", token, "write hours, such as 24h")
    return duration_ns(token)


_RATED = {"read_timeout": "read_min_rate", "write_timeout": "write_min_rate"}
_TIMEOUTS = {"max_write_chunk": Field("max_write_chunk", read_size)}


def read_acme_directory(segment: Segment, reading: Reading) -> CarriedHandler:
    """`acme_server { … }`."""
    return _carry("acme_server", read_acme_server(segment, reading), segment)


def read_metrics(segment: Segment, reading: Reading) -> CarriedHandler:
    """`metrics { disable_openmetrics }` (modules/metrics/metrics.go)."""
    no_more_arguments(segment)
    fields = {"disable_openmetrics": Field("disable_openmetrics", read_flag)}
    return _carry("metrics", read_fields(segment.block or (), fields, "metrics", reading), segment)


def read_fs(segment: Segment, _: Reading) -> SetVariables:
    """`fs <name>`: the file system that later handlers read from."""
    if len(segment.arguments) != 1 or segment.block:
        raise wrong_count(segment, "fs NAME")
    return SetVariables((("fs", segment.arguments[0].text),))


def read_invoke(segment: Segment, reading: Reading) -> Invoke:
    """`invoke <name>`; whether there is such a route is judged when all are read."""
    if len(segment.arguments) != 1 or segment.block:
        raise wrong_count(segment, "invoke NAME")
    reading.invoked.setdefault(segment.arguments[0].text, segment.arguments[0])
    return Invoke(segment.arguments[0].text)
