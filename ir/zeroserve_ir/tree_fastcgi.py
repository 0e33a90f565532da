"""FastCGI upstreams of the route tree.

In, out and rules: as in `tree`, whose `ReverseProxy` names what is here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FastCgi:
    """`transport fastcgi`; its timeouts are those of the handler's `transport`."""

    root: str = ""
    """"" is `{http.vars.root}`."""
    split: tuple[str, ...] = ()
    """Suffixes of a script's path; what follows is PATH_INFO."""
    environment: tuple[tuple[str, str], ...] = ()
    resolve_root_symlink: bool = False
    capture_stderr: bool = False
    resolved_roots: tuple[tuple[str, str], ...] = ()
    """Roots and the directories that they are; drafting finds them out."""
