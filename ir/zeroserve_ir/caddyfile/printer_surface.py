"""The surface tree as text that parses to the same tree.

In: segments, site blocks, a whole `SyntaxTree`. Out: lines of a Caddyfile. Quoting is kept, as some
directives look at it; a token of an import is printed where it stands, without its import. Called for
what is carried through the tree as it was written, and by the property test of the parser.
"""

from __future__ import annotations

from collections.abc import Iterable

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.printer_words import UnprintableError, block, line, word
from zeroserve_ir.caddyfile.syntax import Segment, SyntaxTree


def print_segment(segment: Segment) -> list[str]:
    """Return the lines of a segment with its block."""
    head = line(*(print_token(token) for token in (segment.name, *segment.arguments)))
    return [head] if segment.block is None else block(head, print_segments(segment.block))


def written_form(segments: Iterable[Segment]) -> str:
    """Return the lines of segments as one text, or "" where no Caddyfile can say them."""
    try:
        return "\n".join(print_segments(segments))
    except UnprintableError:
        return ""


def print_segments(segments: Iterable[Segment]) -> list[str]:
    """Return the lines of several segments."""
    return [text for segment in segments for text in print_segment(segment)]


def print_tree(tree: SyntaxTree) -> str:
    """Return the text of a whole Caddyfile, with its imports expanded."""
    parts = [block("", print_segments(tree.options))] if tree.options else []
    for route in tree.named_routes:
        parts.append(block(f"&({route.name.text})", print_segments(route.segments)))
    for site in tree.sites:
        parts.append(block(", ".join(print_token(key) for key in site.keys), print_segments(site.segments)))
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def print_token(token: Token) -> str:
    """Return a token as one word, quoted where it was."""
    return word(token.text, quoted=token.quoted)
