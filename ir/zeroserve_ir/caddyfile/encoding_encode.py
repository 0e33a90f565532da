"""`encode`, `templates` and matchers of answers as the objects of Caddy's JSON.

In: values of `tree_encode` and `tree_templates`. Out: plain dicts, empty values left out as Go does. For
`encoding`.
"""

from __future__ import annotations

from typing import Any

from zeroserve_ir.tree_encode import Encode, Encoder, ResponseMatcher
from zeroserve_ir.tree_templates import Templates

Json = dict[str, Any]


def encode_encode(handler: Encode) -> Json:
    """Encode a handler without its module's name."""
    encoded: Json = {
        "encodings": {encoder.name: _encode_encoder(encoder) for encoder in handler.encoders},
        "prefer": [encoder.name for encoder in handler.encoders],
    }
    if handler.length_bytes_min:
        encoded["minimum_length"] = handler.length_bytes_min
    if handler.matcher is not None:
        encoded["match"] = encode_response_matcher(handler.matcher)
    return encoded


def _encode_encoder(encoder: Encoder) -> Json:
    encoded: Json = {}
    if encoder.level:
        encoded["level"] = encoder.level if encoder.name == "zstd" else int(encoder.level)
    if not encoder.checksum:
        encoded["checksum"] = False
    return encoded


def encode_response_matcher(matcher: ResponseMatcher) -> Json:
    """Encode a matcher of answers."""
    encoded: Json = {}
    if matcher.statuses:
        encoded["status_code"] = list(matcher.statuses)
    if matcher.fields:
        encoded["headers"] = {
            field: None if values is None else list(values) for field, values in matcher.fields
        }
    return encoded


def encode_templates(handler: Templates) -> Json:
    """Encode `templates` without its module's name."""
    encoded: Json = {}
    if handler.root:
        encoded["file_root"] = handler.root
    if handler.mime_types:
        encoded["mime_types"] = list(handler.mime_types)
    if handler.delimiters:
        encoded["delimiters"] = list(handler.delimiters)
    return encoded
