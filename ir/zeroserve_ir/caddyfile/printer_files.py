"""`file_server`, `try_files` and the `file` matcher as text.

In: values of the tree. Out: words and lines of a directive, or lines of a matcher. For the printer. What
reading a file called Caddyfile adds to a hide list by itself is not printed.
"""

from __future__ import annotations

from zeroserve_ir.caddyfile.meaning.files import MATCHED_FILE
from zeroserve_ir.caddyfile.printer_words import block, line, word
from zeroserve_ir.tree import Rewrite, Route
from zeroserve_ir.tree_files import Browse, FileServer, MatchFile

_HIDDEN_ANYWAY = "./Caddyfile"


def file_server_words(server: FileServer) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """Return the words of `file_server` and the lines of its block (None: no block)."""
    hide = server.hide[:-1] if server.hide[-1:] == (_HIDDEN_ANYWAY,) else server.hide
    lines = [f"root {word(server.root, quoted=True)}"] if server.root else []
    for name, values in (
        ("hide", hide),
        ("index", server.index),
        ("precompressed", server.precompressed),
        ("etag_file_extensions", server.etag_extensions),
    ):
        if values:
            lines.append(line(name, *(word(value) for value in values)))
    if server.status:
        lines.append(f"status {word(server.status)}")
    lines += ["disable_canonical_uris"] * (not server.canonical_uris) + ["pass_thru"] * server.pass_thru
    if server.browse is None:
        return (), tuple(lines) or None
    if server.browse == Browse():
        return ("browse",), tuple(lines) or None
    return (), (*lines, *_browse_lines(server.browse))


def _browse_lines(browse: Browse) -> list[str]:
    lines = ["reveal_symlinks"] * browse.reveal_symlinks
    if browse.sort:
        lines.append(line("sort", *(order.value for order in browse.sort)))
    if browse.file_limit:
        lines.append(f"file_limit {browse.file_limit}")
    head = line("browse", word(browse.template_file) if browse.template_file else "")
    return block(head, lines) if lines else [head]


def file_matcher_lines(matcher: MatchFile) -> list[str]:
    """Return the lines of a `file` matcher."""
    lines = [f"root {word(matcher.root, quoted=True)}"] if matcher.root else []
    if matcher.files:
        lines.append(line("try_files", *(word(name) for name in matcher.files)))
    if matcher.policy.value:
        lines.append(f"try_policy {matcher.policy.value}")
    if matcher.split_path:
        lines.append(line("split_path", *(word(one) for one in matcher.split_path)))
    return block("file", lines) if lines else ["file"]


def tried_files(route: Route) -> MatchFile | None:
    """Return the matcher of a route that `try_files` says, or None for any other route."""
    match route:
        case Route((Rewrite() as rewrite,), ((MatchFile() as matcher,),), "", False):
            plain = MatchFile(matcher.files, policy=matcher.policy)
            query = rewrite.uri.removeprefix(MATCHED_FILE)
            whole = rewrite == Rewrite(uri=MATCHED_FILE + query) and plain == matcher
            if whole and matcher.files and "?" not in "".join(matcher.files):
                return matcher if not query or (query[0] == "?" and len(matcher.files) == 1) else None
    return None


def try_files_lines(route: Route) -> list[str]:
    """Return the lines of `try_files` for a route that `tried_files` knows."""
    matcher = tried_files(route)
    (rewrite,) = route.handlers
    assert matcher is not None
    assert isinstance(rewrite, Rewrite)
    query = rewrite.uri.removeprefix(MATCHED_FILE)
    head = line("try_files", *(word(name + query) for name in matcher.files))
    return block(head, [f"policy {matcher.policy.value}"]) if matcher.policy.value else [head]
