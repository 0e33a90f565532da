"""Rows of file servers and file matchers.

In: `tree_files` values. Out: rows of the tables, and their indices. Called by lowering.
"""

from __future__ import annotations

import re

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.program.fitting import U32_MAX, fit
from zeroserve_ir.program.tables import TableBuilder
from zeroserve_ir.program.texts import parse_text
from zeroserve_ir.tree_files import BrowseOrder, FileServer, MatchFile, TryPolicy

_ROOT = "{http.vars.root}"
_PATH = "{http.request.uri.path}"
_INDEX = ("index.html", "index.txt")
_POLICIES = {
    TryPolicy.DEFAULT: pb.FIRST_EXIST,
    TryPolicy.FIRST_EXIST: pb.FIRST_EXIST,
    TryPolicy.FIRST_EXIST_FALLBACK: pb.FIRST_EXIST_FALLBACK,
    TryPolicy.SMALLEST_SIZE: pb.SMALLEST_SIZE,
    TryPolicy.LARGEST_SIZE: pb.LARGEST_SIZE,
    TryPolicy.MOST_RECENTLY_MODIFIED: pb.MOST_RECENTLY_MODIFIED,
}
_FIRST = (TryPolicy.DEFAULT, TryPolicy.FIRST_EXIST, TryPolicy.FIRST_EXIST_FALLBACK)


def add_file_server(tables: TableBuilder, server: FileServer) -> int:
    """Add a `file_server`."""
    row = tables.tables.file_servers.add(
        root=parse_text(server.root or _ROOT),
        hide=[parse_text(pattern) for pattern in server.hide],
        index=[parse_text(name) for name in server.index or _INDEX],
        precompressed=server.precompressed,
        status=parse_text(server.status),
        keep_uris=not server.canonical_uris,
        pass_thru=server.pass_thru,
        etag_extensions=server.etag_extensions,
    )
    if server.browse is not None:
        row.has_browse = True
        row.browse.reveal_symlinks = server.browse.reveal_symlinks
        limit = server.browse.file_limit
        # A negative one asks for all entries.
        row.browse.file_limit = fit(limit) if limit >= 0 else U32_MAX
        for order in server.browse.sort:
            if order in (BrowseOrder.ASCENDING, BrowseOrder.DESCENDING):
                row.browse.order = order.value
            else:
                row.browse.sort = order.value
    return len(tables.tables.file_servers) - 1


def add_file_match(tables: TableBuilder, matcher: MatchFile) -> int:
    """Add a `file` matcher."""
    row = tables.tables.file_matches.add(
        root=parse_text(matcher.root or _ROOT),
        policy=_POLICIES[matcher.policy],
        split_path=matcher.split_path,
    )
    for name in matcher.files or (_PATH,):
        status = _status(name) if matcher.policy in _FIRST else 0
        row.files.add(name=parse_text("" if status else name), is_directory=name.endswith("/"), status=status)
    return len(tables.tables.file_matches) - 1


def raised_status(matcher: MatchFile) -> int:
    """Return the status that a matcher raises where no file before it is there; 500 where it raises none."""
    return next((status for status in map(_status, matcher.files) if status), 500)


def _status(name: str) -> int:
    return int(name[1:]) if re.fullmatch(r"=[1-9]\d\d", name) else 0
