"""Words, lines and blocks of a printed Caddyfile: quoting and layout.

In: texts of the tree. Out: words that the lexer reads back as the same text, and lines indented as
`caddy fmt` does. Called by the printer's other modules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_PLAIN = re.compile(r"(?:[A-Za-z0-9_./:*@%+=?&,;~^|()$!>'\[\]-]|\{[a-z_%?][\w.?%-]*\})+")


class UnprintableError(Exception):
    """The tree holds something that no Caddyfile can say; the message names it."""


def word(text: str, *, quoted: bool = False) -> str:
    """Return `text` as one word, in quotes where it needs them or `quoted` asks for them."""
    if re.search(r"\{\$(?!\})", text):
        raise UnprintableError(f"text would be read as an environment variable: {text!r}")
    if not quoted and _PLAIN.fullmatch(text):
        return text
    if not re.search(r'\\("|$)', text):
        return '"' + text.replace('"', '\\"') + '"'
    if "`" not in text:
        return f"`{text}`"
    return _heredoc(text)


def _heredoc(text: str) -> str:
    marker = "END"
    while marker in text:
        marker += "X"
    if "\r" in text:
        raise UnprintableError(f"text mixes quotes, backticks and carriage returns: {text!r}")
    return f"<<{marker}\n{text}\n{marker}"


def line(*words: str) -> str:
    """Join words that are already quoted; empty ones are left out."""
    return " ".join(one for one in words if one)


def block(head: str, lines: Iterable[str]) -> list[str]:
    """Return `head { … }` with the lines indented; words that span lines keep their text as it is."""
    return [f"{head} {{".lstrip(), *("\t" + one for one in lines), "}"]
