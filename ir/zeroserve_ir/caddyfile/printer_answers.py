"""What `tree_answers` holds, as the lines of its directives.

In: response handlers and what prints routes. Out: lines of a block; names of response matchers are made
here, since they belong to the block. Called by the printer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zeroserve_ir.caddyfile.printer_words import block, line, word
from zeroserve_ir.tree import Route
from zeroserve_ir.tree_answers import CopyResponse, CopyResponseHeaders, ResponseHandler, ResponseMatch

PrintRoutes = Callable[[Sequence[Route]], list[str]]


def response_match_lines(match: ResponseMatch) -> list[str]:
    """Return the lines of a response matcher's block."""
    lines = []
    if match.statuses:
        lines.append(line("status", *(f"{one}xx" if one < 10 else str(one) for one in match.statuses)))
    for field, values in match.fields:
        if values is None:
            lines.append(line("header", word(f"!{field}")))
        lines += [line("header", word(field), word(value, quoted=True)) for value in values or ()]
    return lines


def response_handler_lines(handlers: Sequence[ResponseHandler], print_routes: PrintRoutes) -> list[str]:
    """Return the lines that `reverse_proxy` or `intercept` has for its response handlers."""
    lines: list[str] = []
    for number, handler in enumerate(handlers):
        name = ""
        if handler.match is not None:
            name = f"@answer{number}"
            lines += block(name, response_match_lines(handler.match))
        if handler.status:
            lines.append(line("replace_status", name, word(handler.status)))
        else:
            lines += block(line("handle_response", name), print_routes(handler.routes))
    return lines


def copy_response_words(handler: CopyResponse) -> tuple[str, tuple[str, ...], tuple[str, ...] | None]:
    """Return name, words and block of `copy_response`."""
    if handler.status.isdigit():
        return "copy_response", (handler.status,), None
    lines = (line("status", word(handler.status)),) if handler.status else None
    return "copy_response", (), lines


def copy_headers_words(handler: CopyResponseHeaders) -> tuple[str, tuple[str, ...], tuple[str, ...] | None]:
    """Return name, words and block of `copy_response_headers`."""
    named = (("include", handler.include), ("exclude", handler.exclude))
    lines = tuple(line(name, *map(word, fields)) for name, fields in named if fields)
    return "copy_response_headers", (), lines or None
