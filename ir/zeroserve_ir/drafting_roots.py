"""`resolve_root_symlink`: the directories that roots are, found out when the sites are drafted.

In: sites and one FastCGI transport. Out: the transport with each known root and what it is without links.
Called by `drafting_sites`: the engine may not look at the file system. Roots with placeholders stay.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace

from zeroserve_ir import tree
from zeroserve_ir.tree_fastcgi import FastCgi


def find_roots(sites: Iterable[tree.Site]) -> tuple[str, ...]:
    """Return what `root` is set to anywhere in the sites."""
    found = (root for site in sites for root in _roots_of((*site.routes, *site.errors)))
    return tuple(dict.fromkeys(found))


def _roots_of(routes: Iterable[tree.Route]) -> Iterator[str]:
    for route in routes:
        for handler in route.handlers:
            if isinstance(handler, tree.Subroute):
                yield from _roots_of((*handler.routes, *handler.errors))
            elif isinstance(handler, tree.SetVariables):
                yield from (value for name, value in handler.variables if name == "root")


def resolve_roots(fastcgi: FastCgi, roots: tuple[str, ...]) -> FastCgi:
    """Return the transport with its roots resolved."""
    known = (fastcgi.root,) if fastcgi.root else roots
    resolved = tuple((root, os.path.realpath(root)) for root in known if "{" not in root)
    return replace(fastcgi, resolved_roots=resolved)
