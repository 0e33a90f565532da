"""Directives about answers: response matchers, `handle_response`, `intercept`, `copy_response`.

In: segments without their matcher, and what reads the routes of a block. Out: handlers of the tree. Syntax:
reverseproxy/caddyfile.go, forwardauth/caddyfile.go, intercept/intercept.go, caddyhttp/responsematchers.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.matchers import read_header_fields
from zeroserve_ir.caddyfile.meaning.profiles import Kind, check
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    only_argument,
    refusal,
    refuse_block,
    some_arguments,
    take_block,
    texts,
    without_empty_block,
    wrong_count,
)
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree import (
    CopyResponse,
    CopyResponseHeaders,
    Intercept,
    MatchErrorStatus,
    ResponseHandler,
    ResponseMatch,
    Route,
)

ReadRoutes = Callable[[Segment], tuple[Route, ...]]


@dataclass(slots=True)
class ResponseHandlers:
    """The response handlers of one directive being read, with the matchers named in its block."""

    read_routes: ReadRoutes
    matchers: dict[str, ResponseMatch] = field(default_factory=dict)
    replacing: list[ResponseHandler] = field(default_factory=list)
    blocks: list[Segment] = field(default_factory=list)

    def read(self, inner: Segment) -> bool:
        """Read a line of the directive's block; False where it is about something else."""
        name = inner.name
        if name.text.startswith("@"):
            if name.text in self.matchers:
                message = f"response matcher {name.text} is defined twice"
                raise refusal(Code.ZS0105, message, name, "rename one of them")
            self.matchers[name.text] = read_response_match(inner)
        elif name.text == "replace_status":
            self._read_status(inner)
        elif name.text == "handle_response":
            self.blocks.append(inner)
        else:
            return False
        return True

    def _read_status(self, inner: Segment) -> None:
        refuse_block(without_empty_block(inner))
        if len(inner.arguments) not in (1, 2):
            raise wrong_count(inner, "replace_status [@MATCHER] STATUS")
        match = self._find(inner.arguments[0]) if len(inner.arguments) == 2 else None
        self.replacing.append(ResponseHandler(match, inner.arguments[-1].text))

    def _find(self, token: Token) -> ResponseMatch:
        found = self.matchers.get(token.text)
        if found is None:
            cure = "define it in this block, before it is used"
            raise refusal(Code.ZS0104, f"response matcher {token.text} is not defined", token, cure)
        return found

    def finish(self, reading: Reading) -> tuple[ResponseHandler, ...]:
        """Return the handlers, those without a matcher last (Caddy: FinalizeUnmarshalCaddyfile)."""
        handlers = list(self.replacing)
        for segment in self.blocks:
            with reading.collect():
                if len(segment.arguments) > 1:
                    raise wrong_count(segment, "handle_response [@MATCHER] { … }")
                match = self._find(segment.arguments[0]) if segment.arguments else None
                routes = self.read_routes(Segment(segment.name, (), segment.block))
                handlers.append(ResponseHandler(match, routes=routes))
        matched = [handler for handler in handlers if handler.match is not None]
        return (*matched, *(handler for handler in handlers if handler.match is None))


def read_response_match(segment: Segment) -> ResponseMatch:
    """`@name status CODE … | header FIELD [VALUE]`, or both in a block."""
    lines = list(segment.block or ())
    if segment.arguments:
        lines.insert(0, Segment(segment.arguments[0], segment.arguments[1:]))
    statuses: list[int] = []
    headers: list[Segment] = []
    for one in lines:
        match one.name.text:
            case "status":
                statuses += [_read_status(token) for token in some_arguments(one, "status CODE …")]
            case "header":
                headers.append(one)
            case name:
                raise refusal(
                    Code.ZS0104, f"unknown response matcher {name}", one.name, "write status or header"
                )
    return ResponseMatch(tuple(statuses), read_header_fields(headers).fields if headers else ())


def _read_status(token: Token) -> int:
    text = token.text[0] if re.fullmatch(r".xx", token.text) else token.text
    if not re.fullmatch(r"[+-]?\d{1,9}", text):
        raise refusal(Code.ZS0103, f"{token.text!r} is not a status", token, "write for example 404 or 5xx")
    return int(text)


def read_error_statuses(segment: Segment) -> MatchErrorStatus | None:
    """`handle_errors [STATUS …]`: three digits, or a class such as `4xx`."""
    for token in segment.arguments:
        if not re.fullmatch(r"\d(\d\d|xx)", token.text):
            cure = "write for example 404 or 5xx"
            raise refusal(Code.ZS0103, f"{token.text!r} is not a status of errors", token, cure)
    return MatchErrorStatus(texts(segment.arguments)) if segment.arguments else None


def read_intercept(segment: Segment, reading: Reading, read_routes: ReadRoutes) -> Intercept:
    """`intercept { @name … ; replace_status … ; handle_response … }`."""
    handlers = ResponseHandlers(read_routes)
    for inner in take_block(segment, reading):
        with reading.collect():
            if not handlers.read(inner):
                check(reading, Kind.SUBDIRECTIVE, inner.name.text, inner.name, "intercept")
    return Intercept(handlers.finish(reading))


def read_copy_response(segment: Segment, _: Reading) -> CopyResponse:
    """`copy_response [<status>] { status <status> }`."""
    arguments = texts(segment.arguments)
    if len(arguments) == 1 and re.fullmatch(r"[+]?\d+", arguments[0]) and int(arguments[0]) > 0:
        return CopyResponse(arguments[0])
    status = ""
    for inner in segment.block or ():
        if inner.name.text != "status":
            cure = "copy_response has status only"
            raise refusal(Code.ZS0109, f"unexpected {inner.name.text!r} in copy_response", inner.name, cure)
        status = only_argument(inner, "status CODE").text
    return CopyResponse(status)


def read_copy_response_headers(segment: Segment, _: Reading) -> CopyResponseHeaders:
    """`copy_response_headers { include <field> … | exclude <field> … }`."""
    if segment.arguments:
        raise wrong_count(segment, "copy_response_headers { include FIELD … }")
    named: dict[str, tuple[str, ...]] = {"include": (), "exclude": ()}
    for inner in segment.block or ():
        if inner.name.text not in named:
            message = f"unexpected {inner.name.text!r} in copy_response_headers"
            raise refusal(Code.ZS0109, message, inner.name, "write include or exclude")
        refuse_block(inner)
        named[inner.name.text] += texts(inner.arguments)
    if all(named.values()):
        message = "include and exclude exclude each other"
        raise refusal(Code.ZS0103, message, segment.name, "write one of them")
    return CopyResponseHeaders(**named)


def split_copied(tokens: Sequence[Token]) -> dict[str, str]:
    """Return the fields of `copy_headers` and what they become (`Name>Other`)."""
    copied: dict[str, str] = {}
    for token in tokens:
        name, renames, other = token.text.partition(">")
        copied[name] = other.split(">")[0] if renames else name
    return copied
