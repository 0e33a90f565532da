"""Caddy's JSON of what looks at answers, as values of the tree: the inverse of `encoding_answers`.

In: objects of Caddy's modules, and what reads the routes inside them. Out: values of `tree_answers`. Called
by `decoding_handlers`, which carries what does not encode to the same object again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zeroserve_ir.tree import (
    CopyResponse,
    CopyResponseHeaders,
    Handler,
    ResponseHandler,
    ResponseMatch,
    Route,
)
from zeroserve_ir.tree_carried import Json

DecodeRoutes = Callable[[list[Any], str], tuple[Route, ...]]
"""Reads routes that stand in a handler under a path such as `handle_response[0].routes`."""


def decode_response_match(found: Json) -> ResponseMatch:
    """Decode a matcher of answers."""
    fields = found.get("headers", {})
    pairs = ((name, None if values is None else tuple(values)) for name, values in fields.items())
    return ResponseMatch(tuple(found.get("status_code", ())), tuple(pairs))


def decode_response_handlers(found: list[Json], decode_routes: DecodeRoutes) -> tuple[ResponseHandler, ...]:
    """Decode the entries of `handle_response`."""
    return tuple(
        ResponseHandler(
            decode_response_match(one["match"]) if "match" in one else None,
            str(one.get("status_code", "")),
            decode_routes(one.get("routes", []), f"handle_response[{index}].routes"),
        )
        for index, one in enumerate(found)
    )


def _decode_copied_fields(found: Json) -> CopyResponseHeaders:
    return CopyResponseHeaders(tuple(found.get("include", ())), tuple(found.get("exclude", ())))


ANSWER_HANDLERS: dict[str, Callable[[Json], Handler]] = {
    "copy_response": lambda found: CopyResponse(str(found.get("status_code", ""))),
    "copy_response_headers": _decode_copied_fields,
}
