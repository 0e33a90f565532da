"""Rows of `encode` and `templates`: which answers are encoded or evaluated, and how.

In: `tree_encode` values. Out: rows of the tables, and their indices. Called by lowering.
"""

from __future__ import annotations

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.program.fitting import fit
from zeroserve_ir.program.tables import TableBuilder
from zeroserve_ir.program.texts import parse_text
from zeroserve_ir.tree_encode import Encode, Encoder, ResponseMatcher
from zeroserve_ir.tree_templates import Templates

LENGTH_BYTES_MIN = 512
"""Caddy's minimum_length."""
GZIP_LEVEL = 5
BROTLI_LEVEL = 4
"""About zstd's default in time; the libraries' 11 is for files that are encoded once."""
_ZSTD_LEVELS = {"fastest": 1, "": 3, "default": 3, "better": 7, "best": 11}
"""What the words of Caddy's library mean in levels of zstd (klauspost/compress, zstd/README.md)."""
_CODINGS = {"gzip": pb.GZIP, "zstd": pb.ZSTD, "br": pb.BROTLI}

TEXT_TYPES = (
    *(
        f"application/{name}*"
        for name in (
            "atom+xml", "eot", "font", "geo+json", "graphql+json", "graphql-response+json", "javascript",
            "json", "ld+json", "manifest+json", "opentype", "otf", "rss+xml", "truetype", "ttf",
            "vnd.api+json", "vnd.ms-fontobject", "wasm", "x-httpd-cgi", "x-javascript", "x-opentype",
            "x-otf", "x-perl", "x-protobuf", "x-ttf", "xhtml+xml", "xml",
        )
    ),
    "font/ttf*", "font/otf*", "image/svg+xml*", "image/vnd.microsoft.icon*", "image/x-icon*",
    "multipart/bag*", "multipart/mixed*", "text/*",
)  # fmt: skip
"""Media types that Caddy encodes where nothing else is said (encode/encode.go)."""


def add_encoding(tables: TableBuilder, handler: Encode) -> int:
    """Add an `encode` handler."""
    matcher = handler.matcher or ResponseMatcher(fields=(("Content-Type", TEXT_TYPES),))
    tables.tables.encodings.add(
        encoders=[_build_encoder(encoder) for encoder in handler.encoders],
        length_bytes_min=max(handler.length_bytes_min or LENGTH_BYTES_MIN, 0),
        matcher=build_response_match(matcher),
    )
    return len(tables.tables.encodings) - 1


def _build_encoder(encoder: Encoder) -> pb.Encoder:
    match encoder.name:
        case "zstd":
            level = _ZSTD_LEVELS[encoder.level.lower()]
        case "br":
            level = int(encoder.level or BROTLI_LEVEL)
        case _:
            level = int(encoder.level or GZIP_LEVEL)
            # -1 is the library's default; -2 and -3 are ways of deflate without search.
            level = GZIP_LEVEL if level == -1 else max(level, 1)
    return pb.Encoder(coding=_CODINGS[encoder.name], level=level, checksum=encoder.checksum)


def build_response_match(matcher: ResponseMatcher) -> pb.ResponseMatch:
    """Return the row of a matcher of answers."""
    headers = [
        pb.HeaderMatch(field=field, values=values or (), absent=values is None)
        for field, values in matcher.fields or ()
    ]
    return pb.ResponseMatch(statuses=map(fit, matcher.statuses or ()), headers=headers)


TEMPLATE_TYPES = ("text/html", "text/plain", "text/markdown")
"""Media types that Caddy evaluates where nothing else is said (templates/templates.go)."""


def add_templates(tables: TableBuilder, handler: Templates) -> int:
    """Add a `templates` handler."""
    opening, closing = handler.delimiters or ("{{", "}}")
    tables.tables.templates.add(
        root=parse_text(handler.root or "{http.vars.root}"),
        mime_types=handler.mime_types or TEMPLATE_TYPES,
        open=opening or "{{",
        close=closing or "}}",
    )
    return len(tables.tables.templates) - 1
