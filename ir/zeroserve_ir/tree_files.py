"""File handlers and matchers of the route tree: `file_server`, `file`.

In, out and rules: as in `tree`, whose `Handler` and `Matcher` name what is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class TryPolicy(Enum):
    """Which candidate a `file` matcher takes (Caddy: try_policy); DEFAULT is the first that exists."""

    DEFAULT = ""
    FIRST_EXIST = "first_exist"
    FIRST_EXIST_FALLBACK = "first_exist_fallback"
    SMALLEST_SIZE = "smallest_size"
    LARGEST_SIZE = "largest_size"
    MOST_RECENTLY_MODIFIED = "most_recently_modified"


@dataclass(frozen=True, slots=True)
class MatchFile:
    """`file`: one of the files exists below the root; it is then `{http.matchers.file.relative}`.

    Names may hold placeholders and globs; one that ends in a slash is a directory; `=404` raises that status.
    No names: the request's path.
    """

    files: tuple[str, ...] = ()
    root: str = ""
    """"" is `{http.vars.root}`."""
    policy: TryPolicy = TryPolicy.DEFAULT
    split_path: tuple[str, ...] = ()


class BrowseOrder(Enum):
    """Words of `sort` in `browse`."""

    NAME = "name"
    NAME_DIRECTORIES_FIRST = "namedirfirst"
    SIZE = "size"
    TIME = "time"
    ASCENDING = "asc"
    DESCENDING = "desc"


@dataclass(frozen=True, slots=True)
class Browse:
    """`browse`: listings of directories without an index file."""

    template_file: str = ""
    """Kept for Caddy's JSON; the engine has one page of its own."""
    reveal_symlinks: bool = False
    sort: tuple[BrowseOrder, ...] = ()
    file_limit: int = 0
    """Entries read of a directory; 0 is Caddy's 10,000."""


@dataclass(frozen=True, slots=True)
class FileServer:
    """`file_server`."""

    root: str = ""
    """"" is `{http.vars.root}`."""
    hide: tuple[str, ...] = ()
    index: tuple[str, ...] = ()
    """No names: index.html, index.txt."""
    browse: Browse | None = None
    precompressed: tuple[str, ...] = ()
    """Encodings with sidecar files, in order of preference."""
    status: str = ""
    canonical_uris: bool = True
    pass_thru: bool = False
    etag_extensions: tuple[str, ...] = ()
