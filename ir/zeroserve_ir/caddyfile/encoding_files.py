"""`file_server` and the `file` matcher as the objects of Caddy's JSON.

In: values of `zeroserve_ir.tree_files`. Out: plain dicts, empty values left out as Go does. For `encoding`.
"""

from __future__ import annotations

import re
from typing import Any

from zeroserve_ir.tree_files import Browse, FileServer, MatchFile

Json = dict[str, Any]


def encode_file_matcher(matcher: MatchFile) -> Json:
    """Encode a `file` matcher."""
    return _prune(
        {
            "root": matcher.root,
            "try_files": list(matcher.files),
            "try_policy": matcher.policy.value,
            "split_path": list(matcher.split_path),
        }
    )


def encode_file_server(server: FileServer) -> Json:
    """Encode a file server without its module's name."""
    status: str | int = int(server.status) if re.fullmatch(r"-?\d+", server.status) else server.status
    encoded = _prune(
        {
            "root": server.root,
            "hide": list(server.hide),
            "index_names": list(server.index),
            "status_code": status,
            "pass_thru": server.pass_thru,
            "precompressed": {name: {} for name in server.precompressed},
            "precompressed_order": list(server.precompressed),
            "etag_file_extensions": list(server.etag_extensions),
        }
    )
    if server.browse is not None:
        encoded["browse"] = _encode_browse(server.browse)
    if not server.canonical_uris:
        encoded["canonical_uris"] = False
    return encoded


def _encode_browse(browse: Browse) -> Json:
    return _prune(
        {
            "template_file": browse.template_file,
            "reveal_symlinks": browse.reveal_symlinks,
            "sort": [order.value for order in browse.sort],
            "file_limit": browse.file_limit,
        }
    )


def _prune(value: Json) -> Json:
    return {key: one for key, one in value.items() if one}
