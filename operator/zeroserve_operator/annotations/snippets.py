"""Directives of nginx's configuration, as `ngx_conf_read_token` reads them (nginx: src/core/ngx_conf_file.c).

In: the text of a snippet. Out: its simple directives with their words; a block, or what nginx refuses, is a
`SnippetError` with its line. Called by `header_edits`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_SPACES: Final = " \t\r\n"
_ESCAPES: Final = {'"': '"', "'": "'", "\\": "\\", "t": "\t", "r": "\r", "n": "\n"}


class SnippetError(Exception):
    """What is not read; says why, with the line in the snippet."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")


@dataclass(frozen=True, slots=True)
class Directive:
    """A directive that ends in a semicolon."""

    name: str
    words: tuple[str, ...]
    line: int


def read_directives(text: str) -> Iterator[Directive]:
    """Yield the directives of a snippet; raises `SnippetError`."""
    words: list[str] = []
    begun = line = 1
    at = 0
    while at < len(text):
        sign = text[at]
        if sign in _SPACES:
            line += sign == "\n"
            at += 1
        elif sign == "#":
            end = text.find("\n", at)
            at = end if end >= 0 else len(text)
        elif sign == ";":
            if not words:
                raise SnippetError(line, "`;` ends nothing")
            yield Directive(words[0], tuple(words[1:]), begun)
            words, at = [], at + 1
        elif sign in "{}":
            raise SnippetError(begun if words else line, f"`{' '.join([*words, sign])}` is a block")
        else:
            begun = begun if words else line
            word, end = _read_quoted(text, at, line) if sign in "\"'" else _read_bare(text, at, line)
            line += text.count("\n", at, end)
            words.append(word)
            at = end
    if words:
        raise SnippetError(begun, f"`{' '.join(words)}` does not end in a semicolon")


def _read_quoted(text: str, begin: int, line: int) -> tuple[str, int]:
    quote, at = text[begin], begin + 1
    word = ""
    while at < len(text) and text[at] != quote:
        part, at = _read_sign(text, at)
        word += part
    if at >= len(text):
        raise SnippetError(line, "a quoted word does not end")
    if text[at + 1 : at + 2] not in (*_SPACES, ";", "{", ""):
        raise SnippetError(line, f"`{text[at + 1]}` follows a quoted word")
    return word, at + 1


def _read_bare(text: str, begin: int, line: int) -> tuple[str, int]:
    at, word = begin, ""
    while at < len(text) and text[at] not in (*_SPACES, ";"):
        if text[at] == "{":
            raise SnippetError(line, f"`{word}{{` is a block, or a variable in braces")
        part, at = _read_sign(text, at)
        word += part
    return word, at


def _read_sign(text: str, at: int) -> tuple[str, int]:
    """Return what stands at a place, and where the next sign is: a backslash before most signs is kept."""
    if text[at] != "\\":
        return text[at], at + 1
    escaped = text[at + 1 : at + 2]
    return _ESCAPES.get(escaped, "\\" + escaped), at + 2
