"""`templates` of the route tree.

In, out and rules: as in `tree`, whose `Handler` names what is here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Templates:
    """`templates`: answers of these media types are evaluated."""

    mime_types: tuple[str, ...] = ()
    """Parts of media types; none is Caddy's HTML, plain text and Markdown."""
    delimiters: tuple[str, ...] = ()
    """Opening and closing; none is "{{" and "}}"."""
    root: str = ""
    """Directory of the files that templates read; "" is `{http.vars.root}`."""
