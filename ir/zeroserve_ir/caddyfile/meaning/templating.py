"""`templates` (templates/caddyfile.go).

In: a segment without the request's matcher. Out: `Templates`. For `directives`.
"""

from __future__ import annotations

from dataclasses import replace

from zeroserve_ir.caddyfile.meaning.profiles import Kind, check
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    no_more_arguments,
    only_argument,
    refusal,
    some_arguments,
    take_block,
    take_value,
    texts,
    without_empty_block,
    wrong_count,
)
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree_templates import Templates


def read_templates(segment: Segment, reading: Reading) -> Templates:
    """`templates { mime <types…>; between <open> <close>; root <path> }`."""
    templates = Templates()
    for inner in take_block(segment, reading):
        if inner.name.text not in _SUBDIRECTIVES:
            reading.leave_out((inner.name, *inner.arguments), "templates")
            continue
        with reading.collect():
            check(reading, Kind.SUBDIRECTIVE, inner.name.text, inner.name, "templates")
            match inner.name.text:
                case "mime":
                    types = some_arguments(without_empty_block(inner), "mime TYPE …")
                    templates = replace(templates, mime_types=texts(types))
                case "between":
                    if len(inner.arguments) != 2:
                        raise wrong_count(inner, "between OPEN CLOSE")
                    templates = replace(templates, delimiters=texts(inner.arguments))
                case "root":
                    root = only_argument(take_value(inner, reading), "root PATH")
                    templates = replace(templates, root=root.text)
                case _:
                    _refuse_extensions(inner)
    return templates


_SUBDIRECTIVES = ("mime", "between", "root", "extensions")


def _refuse_extensions(inner: Segment) -> None:
    """Functions of plugins: stock Caddy has none, nor have we."""
    no_more_arguments(inner)
    for extension in inner.block or ():
        name = extension.name
        raise refusal(
            Code.ZS0110, f"template functions {name.text} are a plugin of Caddy", name, "remove them"
        )
