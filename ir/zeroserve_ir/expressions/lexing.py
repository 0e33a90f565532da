"""CEL text -> tokens (cel-spec, doc/langdef.md, Syntax)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from zeroserve_ir.expressions.nodes import ExpressionError, Unsigned

LENGTH_MAX = 16 << 10
"""Characters of an expression: far beyond what people write, little enough to parse at once."""

_TOKEN = re.compile(
    r"""
    (?P<blank>\s+|//[^\n]*)
    |(?P<string>(?:[rR][bB]?|[bB][rR]?)?(?:'''|\"\"\"|'|\"))
    |(?P<float>(?:\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?))
    |(?P<integer>(?:0[xX][0-9a-fA-F]+|\d+)[uU]?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>&&|\|\||[<>=!]=|[-+*/%!<>?:.,()\[\]{}])
    """,
    re.VERBOSE | re.ASCII,
)
_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "'": "'", '"': '"', "`": "`", "?": "?",
}  # fmt: skip
_NUMERIC = re.compile(r"[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})")


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is literal, name, sign or end; a literal's value is beside its text."""

    kind: str
    text: str
    offset: int
    value: bool | int | Unsigned | float | str | bytes | None = None


def tokenize(text: str) -> list[Token]:
    """Return the tokens, the last of kind end. Raises ExpressionError."""
    if len(text) > LENGTH_MAX:
        raise ExpressionError(f"longer than {LENGTH_MAX} characters", 0, "split it into several matchers")
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise ExpressionError(f"unexpected {text[position]!r}", position, "see the syntax of CEL")
        kind, end = found.lastgroup or "", found.end()
        if kind == "string":
            value, end = _read_string(text, found)
            tokens.append(Token("literal", text[position:end], position, value))
        elif kind != "blank":
            tokens.append(_read_plain(kind, found[0], position))
        position = end
    tokens.append(Token("end", "", len(text)))
    return tokens


def _read_plain(kind: str, text: str, offset: int) -> Token:
    if kind == "float":
        return Token("literal", text, offset, float(text))
    if kind == "integer":
        digits = text.rstrip("uU")
        number = int(digits, 16 if digits[:2].lower() == "0x" else 10)
        if digits != text and number < 1 << 64:
            return Token("literal", text, offset, Unsigned(number))
        # -9223372036854775808 is a minus and this number: the parser says no to other uses.
        if digits != text or number > 1 << 63:
            raise ExpressionError(f"{text} does not fit 64 bits", offset)
        return Token("literal", text, offset, number)
    constants = {"true": True, "false": False, "null": None}
    if kind == "name" and text in constants:
        return Token("literal", text, offset, constants[text])
    return Token(kind, text, offset)


def _read_string(text: str, opening: re.Match[str]) -> tuple[str | bytes, int]:
    start = opening.end()
    prefix = opening[0].rstrip("'\"").lower()
    quote = opening[0][len(prefix) :]
    position, parts = start, []
    while not text.startswith(quote, position):
        if position >= len(text) or (len(quote) == 1 and text[position] == "\n"):
            raise ExpressionError(f"quote {quote} is not closed", opening.start(), f"close it with {quote}")
        if text[position] == "\\" and "r" not in prefix:
            char, position = _read_escape(text, position, "b" in prefix)
            parts.append(char)
            continue
        parts.append(text[position].encode() if "b" in prefix else text[position])
        position += 1
    end = position + len(quote)
    if "b" in prefix:
        return b"".join(part if isinstance(part, bytes) else part.encode() for part in parts), end
    return "".join(part for part in parts if isinstance(part, str)), end


def _read_escape(text: str, position: int, is_bytes: bool) -> tuple[str | bytes, int]:
    following = text[position + 1 : position + 2]
    if following in _ESCAPES and following:
        return _ESCAPES[following], position + 2
    found = _NUMERIC.match(text, position + 1)
    if found is None:
        raise ExpressionError(
            f"unknown escape \\{following}", position, "double the backslash, or write r'…'"
        )
    octal = found[4] is not None
    number = int(found[4], 8) if octal else int(found[1] or found[2] or found[3], 16)
    if is_bytes and (octal or found[1] is not None):
        return bytes([number]), found.end()
    if number > 0x10FFFF or 0xD800 <= number < 0xE000:
        raise ExpressionError(f"{found[0]} is no character", position)
    return chr(number), found.end()
