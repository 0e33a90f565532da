"""The `url_pattern` matcher: carried, as nothing here evaluates it (caddyhttp/urlpatternmatcher.go)."""

from __future__ import annotations

from collections.abc import Sequence

from zeroserve_ir.caddyfile.meaning.blocks import Field, read_fields, read_flag, read_text
from zeroserve_ir.caddyfile.meaning.reading import Reading, wrong_count
from zeroserve_ir.caddyfile.printer_surface import written_form
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.tree_carried import Carried, CarriedMatcher, Json

_FIELDS = {"base_url": Field("base_url", read_text), "ignore_case": Field("ignore_case", read_flag)}


def read_url_pattern(segments: Sequence[Segment], reading: Reading) -> CarriedMatcher:
    """`url_pattern <pattern> { base_url … ignore_case }`; of several lines each field's last one holds."""
    found: Json = {}
    for segment in segments:
        if len(segment.arguments) != 1:
            raise wrong_count(segment, "url_pattern PATTERN")
        found["pattern"] = segment.arguments[0].text
        read_fields(segment.block or (), _FIELDS, "url_pattern", reading, found)
    return CarriedMatcher("url_pattern", Carried.of(found, written_form(segments), segments[0].span))
