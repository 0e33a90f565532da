"""Strings with placeholders, split once into parts.

In: a string as Caddy has it (`/new{http.request.uri.path}`). Out: the `Text` message that the engine
expands per request. Braces that do not form a placeholder stay as written; `\\{` is a literal brace
(Caddy: replacer.go).
"""

from __future__ import annotations

from collections.abc import Iterator

from zeroserve_ir._pb import resources_pb2 as pb


def parse_text(text: str) -> pb.Text:
    """Split a string into literals and placeholders."""
    return pb.Text(parts=_parts(text))


def placeholders(text: str) -> tuple[str, ...]:
    """Return the names of a string's placeholders, in order, without braces."""
    return tuple(part.placeholder for part in _parts(text) if part.HasField("placeholder"))


def unescape(text: str) -> str:
    """Return a string without placeholders as it is meant; any other as it stands."""
    parts = tuple(_parts(text))
    return parts[0].literal if len(parts) == 1 and parts[0].HasField("literal") else text


def _parts(text: str) -> Iterator[pb.Part]:
    literal = ""
    position = 0
    while position < len(text):
        char = text[position]
        if char == "\\" and text[position + 1 : position + 2] in ("{", "}"):
            literal += text[position + 1]
            position += 2
            continue
        end = text.find("}", position) if char == "{" else -1
        if end <= position + 1 or not _is_name(text[position + 1 : end]):
            literal += char
            position += 1
            continue
        if literal:
            yield pb.Part(literal=literal)
            literal = ""
        yield pb.Part(placeholder=text[position + 1 : end])
        position = end + 1
    if literal:
        yield pb.Part(literal=literal)


def _is_name(name: str) -> bool:
    return name.startswith("file.") or not any(char.isspace() or char in '{"' for char in name)
