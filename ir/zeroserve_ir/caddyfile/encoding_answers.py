"""What `tree_answers` holds, as the objects of Caddy's JSON.

In: values of the tree. Out: plain dicts without the empty values that Go leaves out. Called by `encoding`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from zeroserve_ir.tree_answers import (
    CopyResponse,
    CopyResponseHeaders,
    MatchErrorStatus,
    ResponseHandler,
    ResponseMatch,
)

Json = dict[str, Any]
EncodeRoutes = Callable[[Iterable[Any]], list[Json]]


def encode_status(status: str) -> str | int:
    """Encode a status as a number where it is one (caddyhttp.WeakString)."""
    return int(status) if re.fullmatch(r"[+-]?\d+", status) else status


def encode_response_match(match: ResponseMatch) -> Json:
    """Encode a response matcher."""
    encoded: Json = {}
    if match.statuses:
        encoded["status_code"] = list(match.statuses)
    if match.fields:
        encoded["headers"] = {
            field: None if values is None else list(values) for field, values in match.fields
        }
    return encoded


def encode_response_handlers(handlers: Iterable[ResponseHandler], encode_routes: EncodeRoutes) -> list[Json]:
    """Encode the entries of `handle_response`."""
    return [_encode_response_handler(handler, encode_routes) for handler in handlers]


def _encode_response_handler(handler: ResponseHandler, encode_routes: EncodeRoutes) -> Json:
    encoded: Json = {}
    if handler.match is not None:
        encoded["match"] = encode_response_match(handler.match)
    if handler.status:
        encoded["status_code"] = encode_status(handler.status)
    if handler.routes:
        encoded["routes"] = encode_routes(handler.routes)
    return encoded


def encode_copy_response(handler: CopyResponse) -> Json:
    """Encode `copy_response`."""
    return {"status_code": encode_status(handler.status)} if handler.status else {}


def encode_copy_headers(handler: CopyResponseHeaders) -> Json:
    """Encode `copy_response_headers`."""
    named = {"include": list(handler.include), "exclude": list(handler.exclude)}
    return {key: names for key, names in named.items() if names}


def encode_error_status(match: MatchErrorStatus) -> str:
    """Encode the statuses of `handle_errors` as the expression that Caddy makes of them."""
    name = "{http.error.status_code}"
    parts = [
        f"{name} >= {status[0]}00 && {name} <= {status[0]}99"
        for status in match.statuses
        if status.endswith("xx")
    ]
    single = [status for status in match.statuses if not status.endswith("xx")]
    if single:
        parts.append(f"{name} in [{', '.join(single)}]")
    return " || ".join(parts)
