"""`encode`, `templates` and matchers of answers as lines of a Caddyfile. Called by the printer."""

from __future__ import annotations

from zeroserve_ir.caddyfile.printer_words import block, line, word
from zeroserve_ir.tree_encode import Encode, Encoder, ResponseMatcher
from zeroserve_ir.tree_templates import Templates


def encode_lines(handler: Encode) -> list[str]:
    """Return the lines of the block of `encode`."""
    lines = [one for encoder in handler.encoders for one in _encoder_lines(encoder)]
    if handler.length_bytes_min:
        lines.append(f"minimum_length {handler.length_bytes_min}")
    if handler.matcher is not None:
        lines += block("match", response_matcher_lines(handler.matcher))
    return lines


def _encoder_lines(encoder: Encoder) -> list[str]:
    head = line(encoder.name, encoder.level)
    return [head] if encoder.checksum else block(head, ["disable_checksum"])


def response_matcher_lines(matcher: ResponseMatcher) -> list[str]:
    """Return the lines of a matcher of answers."""
    lines = []
    if matcher.statuses is not None:
        codes = (f"{status}xx" if status < 10 else str(status) for status in matcher.statuses)
        lines.append(line("status", *codes))
    for field, values in matcher.fields or ():
        if values is None:
            lines.append(line("header", word(f"!{field}")))
        lines += [line("header", word(field), word(value, quoted=True)) for value in values or ()]
    return lines


def templates_lines(handler: Templates) -> list[str]:
    """Return the lines of the block of `templates`."""
    lines = []
    if handler.mime_types:
        lines.append(line("mime", *(word(part) for part in handler.mime_types)))
    if handler.delimiters:
        lines.append(line("between", *(word(delimiter, quoted=True) for delimiter in handler.delimiters)))
    if handler.root:
        lines.append(line("root", word(handler.root)))
    return lines
