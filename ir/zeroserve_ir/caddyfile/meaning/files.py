"""Directives that serve files: file_server and try_files.

Each reader takes the segment without its matcher. Syntax: fileserver/caddyfile.go.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.file_matching import read_policy
from zeroserve_ir.caddyfile.meaning.globs import is_match
from zeroserve_ir.caddyfile.meaning.profiles import Kind, check
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    integer,
    no_arguments,
    only_argument,
    refusal,
    refuse_block,
    some_arguments,
    take_value,
    texts,
    wrong_count,
)
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree import Rewrite, Route
from zeroserve_ir.tree_files import Browse, BrowseOrder, FileServer, MatchFile, TryPolicy

ENCODINGS = ("br", "zstd", "gzip")
"""Encodings with sidecar files, in the order that `precompressed` alone means."""
MATCHED_FILE = "{http.matchers.file.relative}"
"""What `try_files` rewrites to."""


def read_file_server(segment: Segment, reading: Reading) -> FileServer:
    """`file_server [browse] { … }`; the files of the configuration itself are hidden."""
    arguments = texts(segment.arguments)
    if arguments not in ((), ("browse",)):
        raise wrong_count(segment, "file_server [MATCHER] [browse]")
    server = FileServer(browse=Browse() if arguments else None)
    for inner in segment.block or ():
        if check(reading, Kind.SUBDIRECTIVE, inner.name.text, inner.name, "file_server"):
            server = _LINES[inner.name.text](server, inner, reading)
    return _hide_configuration(server, reading.files)


def _hide_configuration(server: FileServer, files: tuple[str, ...]) -> FileServer:
    hide = server.hide
    for file in files:
        path = os.path.normpath(file)
        if not is_hidden(path, hide):
            hide = (*hide, path if "/" in path else f"./{path}")
    return replace(server, hide=hide)


def is_hidden(path: str, hide: tuple[str, ...]) -> bool:
    """Whether a hide list as written covers a path (fileserver/staticfiles.go fileHidden)."""
    absolute = os.path.abspath(path)
    for pattern in hide:
        if "/" not in pattern:
            if any(is_match(pattern, component) for component in absolute.split("/")):
                return True
        elif absolute.startswith(pattern) and absolute[len(pattern) :].startswith("/"):
            return True
        if is_match(pattern, absolute):
            return True
    return False


def _read_hide(server: FileServer, inner: Segment, _: Reading) -> FileServer:
    return replace(server, hide=server.hide + texts(some_arguments(inner, "hide FILE …")))


def _read_index(server: FileServer, inner: Segment, _: Reading) -> FileServer:
    return replace(server, index=texts(some_arguments(inner, "index FILE …")))


def _read_root(server: FileServer, inner: Segment, _: Reading) -> FileServer:
    return replace(server, root=only_argument(inner, "root PATH").text)


def _read_browse(server: FileServer, inner: Segment, reading: Reading) -> FileServer:
    if server.browse is not None:
        raise refusal(Code.ZS0109, "browse stands twice in file_server", inner.name, "keep one of them")
    if len(inner.arguments) > 1:
        raise wrong_count(inner, "browse")
    browse = Browse()
    if inner.arguments:
        cure = "leave the template out"
        reading.warn(Code.ZS0110, "a template of browse is not supported yet", inner.arguments[0], cure)
        browse = replace(browse, template_file=inner.arguments[0].text)
    for line in inner.block or ():
        check(reading, Kind.SUBDIRECTIVE, line.name.text, line.name, "browse")
        browse = _read_browse_line(browse, line)
    return replace(server, browse=browse)


def _read_browse_line(browse: Browse, line: Segment) -> Browse:
    match line.name.text:
        case "reveal_symlinks":
            no_arguments(line)
            return replace(browse, reveal_symlinks=True)
        case "sort":
            refuse_block(line)
            return replace(browse, sort=browse.sort + _read_orders(line.arguments, len(browse.sort)))
        case _:
            limit = integer(only_argument(line, "file_limit NUMBER"))
            return replace(browse, file_limit=limit)


_DIRECTIONS = (BrowseOrder.ASCENDING, BrowseOrder.DESCENDING)


def _read_orders(tokens: tuple[Token, ...], before: int) -> tuple[BrowseOrder, ...]:
    cure = "write sort name, namedirfirst, size or time, then asc or desc"
    orders = []
    for place, token in enumerate(tokens, before):
        fits = [order for order in BrowseOrder if place < 2 and (order in _DIRECTIONS) == (place == 1)]
        if token.text not in [order.value for order in fits]:
            raise refusal(Code.ZS0103, f"{token.text!r} is not an order here", token, cure)
        orders.append(BrowseOrder(token.text))
    return tuple(orders)


def _read_precompressed(server: FileServer, inner: Segment, _: Reading) -> FileServer:
    refuse_block(inner)
    for token in inner.arguments:
        if token.text not in ENCODINGS:
            cure = "write br, zstd or gzip"
            raise refusal(Code.ZS0103, f"no precompressed files of {token.text!r}", token, cure)
    return replace(server, precompressed=texts(inner.arguments) or ENCODINGS)


def _read_status(server: FileServer, inner: Segment, _: Reading) -> FileServer:
    return replace(server, status=only_argument(inner, "status CODE").text)


def _read_canonical(server: FileServer, inner: Segment, _: Reading) -> FileServer:
    no_arguments(inner)
    return replace(server, canonical_uris=False)


def _read_pass(server: FileServer, inner: Segment, _: Reading) -> FileServer:
    no_arguments(inner)
    return replace(server, pass_thru=True)


def _read_etags(server: FileServer, inner: Segment, _: Reading) -> FileServer:
    return replace(server, etag_extensions=texts(some_arguments(inner, "etag_file_extensions SUFFIX …")))


_LINES: dict[str, Callable[[FileServer, Segment, Reading], FileServer]] = {
    "browse": _read_browse,
    "disable_canonical_uris": _read_canonical,
    "etag_file_extensions": _read_etags,
    "hide": _read_hide,
    "index": _read_index,
    "pass_thru": _read_pass,
    "precompressed": _read_precompressed,
    "root": _read_root,
    "status": _read_status,
}


def read_try_files(segment: Segment, reading: Reading) -> tuple[Route, ...]:
    """`try_files <files…> { policy … }`: rewrites to the first that exists; one with a query stands alone."""
    if not segment.arguments:
        raise wrong_count(segment, "try_files FILE …")
    policy = TryPolicy.DEFAULT
    for inner in segment.block or ():
        if inner.name.text == "policy":
            if policy is not TryPolicy.DEFAULT:
                raise refusal(Code.ZS0109, "policy stands twice in try_files", inner.name, "keep one of them")
            policy = read_policy(only_argument(take_value(inner, reading), "policy NAME"))
    routes = tuple(
        Route((Rewrite(uri=MATCHED_FILE + query),), ((MatchFile(files, policy=policy),),), span=segment.span)
        for files, query in _split_queries(texts(segment.arguments))
    )
    group = reading.next_group() if len(routes) > 1 else ""
    return tuple(replace(route, group=group) for route in routes)


def _split_queries(names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    plain: tuple[str, ...] = ()
    for name in names:
        path, question_mark, query = name.partition("?")
        if not question_mark:
            plain = (*plain, name)
            continue
        if plain:
            yield plain, ""
            plain = ()
        yield (path,), f"?{query}"
    if plain:
        yield plain, ""
