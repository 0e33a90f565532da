"""Directives that answer or change the request by themselves: respond, redir, error, rewrite and the like.

Each reader takes the segment without its matcher and returns the handler. Syntax:
httpcaddyfile/builtins.go, caddyhttp/{staticresp,staticerror,vars}.go, rewrite, requestbody, caddyauth.
"""

from __future__ import annotations

import html
import re

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.matchers import check_regexp
from zeroserve_ir.caddyfile.meaning.profiles import Kind, check
from zeroserve_ir.caddyfile.meaning.reading import (
    Profile,
    Reading,
    integer,
    is_status,
    no_arguments,
    only_argument,
    refusal,
    refuse_block,
    size_bytes,
    take_arguments,
    take_block,
    texts,
    wrong_count,
)
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree import (
    BasicAuth,
    HeaderReplacement,
    RaiseError,
    RequestBody,
    Rewrite,
    SetVariables,
    StaticResponse,
)


def read_respond(segment: Segment, reading: Reading) -> StaticResponse:
    """`respond [<body>] [<status>] { body close }`."""
    body, status = _text_and_status(segment, reading, "respond [BODY] [STATUS]")
    close = False
    for inner in segment.block or ():
        if inner.name.text == "close" and not close:
            no_arguments(inner)
            close = True
        elif inner.name.text == "body" and not body:
            body = only_argument(inner, "body TEXT").text
        else:
            raise _unexpected(inner, "respond", "body and close stand once each")
    return StaticResponse(status=status, body=body, close=close)


def read_error(segment: Segment, reading: Reading) -> RaiseError:
    """`error [<message>] <status> { message }`."""
    message, status = _text_and_status(segment, reading, "error [MESSAGE] STATUS")
    for inner in segment.block or ():
        if inner.name.text != "message" or message:
            raise _unexpected(inner, "error", "message stands once")
        message = only_argument(inner, "message TEXT").text
    return RaiseError(status=status, message=message)


def _text_and_status(segment: Segment, reading: Reading, usage: str) -> tuple[str, str]:
    arguments = segment.arguments
    if len(arguments) not in (1, 2):
        raise wrong_count(segment, usage)
    if len(arguments) == 1:
        text = arguments[0].text
        return ("", text) if is_status(text) else (text, "")
    status = arguments[1].text
    if status and "{" not in status and not re.fullmatch(r"[1-9]\d\d", status):
        message, cure = f"{status!r} is not a status", "write a number from 100 to 999"
        if reading.profile is not Profile.LOCAL or re.fullmatch(r"[+-]?\d+", status):
            raise refusal(Code.ZS0103, message, arguments[1], cure)
        reading.warn(Code.ZS0103, f"{message}: it is answered with 500, as in Caddy", arguments[1], cure)
    return arguments[0].text, status


def _unexpected(inner: Segment, owner: str, cure: str) -> Exception:
    return refusal(Code.ZS0109, f"unexpected {inner.name.text!r} in {owner}", inner.name, cure)


def read_abort(segment: Segment, _: Reading) -> StaticResponse:
    """`abort`."""
    no_arguments(segment)
    return StaticResponse(abort=True)


_BROWSER_REDIRECT = """<!DOCTYPE html>
<html>
	<head>
		<title>Redirecting...</title>
		<script>window.location.replace("{0}");</script>
		<meta http-equiv="refresh" content="0; URL='{0}'">
	</head>
	<body>Redirecting to <a href="{0}">{0}</a>...</body>
</html>
"""


def read_redir(segment: Segment, reading: Reading) -> StaticResponse:
    """`redir <to> [<code>]`; `html` answers 200 with a page that redirects browsers."""
    segment = take_arguments(segment, 2, reading)
    if not segment.arguments:
        raise wrong_count(segment, "redir TO [CODE]")
    refuse_block(segment)
    to = segment.arguments[0].text
    code = segment.arguments[1] if len(segment.arguments) == 2 else None
    status = {"": "302", "temporary": "302", "permanent": "301"}.get(code.text if code else "")
    if code is not None and code.text == "html":
        return _browser_redirect(to)
    if code is not None and status is None:
        status = code.text
        redirects = re.fullmatch(r"3\d\d|401", status)
        if not status.startswith("{") and not redirects:
            cure = "write 301, 302, 303, 307, 308, 401, permanent, temporary or html"
            raise refusal(Code.ZS0103, f"{status!r} is not a status of a redirect", code, cure)
    return StaticResponse(status=status or "302", headers=(("Location", to),))


def _browser_redirect(to: str) -> StaticResponse:
    escaped = html.escape(to, quote=False).replace("'", "&#39;").replace('"', "&#34;")
    body = _BROWSER_REDIRECT.replace("{0}", escaped)
    return StaticResponse("200", body, (("Content-Type", "text/html; charset=utf-8"),))


def browser_redirect_target(handler: StaticResponse) -> str | None:
    """Return where a page of `redir … html` leads, or None for any other answer."""
    before, after = _BROWSER_REDIRECT.split("{0}")[:2]
    body = handler.body
    end = body.find(after)
    if not body.startswith(before) or end < 0:
        return None
    target = html.unescape(body[len(before) : end])
    return target if handler == _browser_redirect(target) else None


def read_rewrite(segment: Segment, _: Reading) -> Rewrite:
    """`rewrite <to>`."""
    return Rewrite(uri=only_argument(segment, "rewrite [MATCHER] TO").text)


def read_method(segment: Segment, _: Reading) -> Rewrite:
    """`method <method>`."""
    return Rewrite(method=only_argument(segment, "method [MATCHER] METHOD").text)


def read_uri(segment: Segment, _: Reading) -> Rewrite:
    """`uri strip_prefix|strip_suffix|replace|path_regexp|query …`."""
    if not segment.arguments:
        raise wrong_count(segment, "uri OPERATION …")
    operation, *arguments = segment.arguments
    if operation.text != "query":
        refuse_block(segment)
    match operation.text, len(arguments):
        case "strip_prefix", 1:
            return Rewrite(strip_path_prefix=arguments[0].text)
        case "strip_suffix", 1:
            return Rewrite(strip_path_suffix=arguments[0].text)
        case "replace", 2 | 3:
            limit = integer(arguments[2]) if len(arguments) == 3 else 0
            return Rewrite(substring=((arguments[0].text, arguments[1].text, limit),))
        case "path_regexp", 2:
            return Rewrite(path_regexp=((check_regexp(arguments[0]), arguments[1].text),))
        case "query", _:
            lines = [tuple(arguments)] if arguments else []
            if arguments and segment.block:
                refuse_block(segment)
            lines += _read_lines(segment)
            if not lines:
                raise wrong_count(segment, "uri query KEY VALUE")
            return _read_query(lines, segment)
        case "strip_prefix" | "strip_suffix" | "replace" | "path_regexp", _:
            raise wrong_count(segment, f"uri {operation.text} …")
    cure = "write strip_prefix, strip_suffix, replace, path_regexp or query"
    raise refusal(Code.ZS0103, f"unknown operation {operation.text!r} of uri", operation, cure)


def _read_query(lines: list[tuple[Token, ...]], segment: Segment) -> Rewrite:
    """Read the steps; those of three words replace by pattern."""
    patterns = [line for line in lines if len(line) == 3 and line[0].text[:1] not in ("", "+", "-")]
    return Rewrite(
        query=_in_order([_query_step(line, segment) for line in lines if line not in patterns]),
        query_replace=tuple(
            HeaderReplacement(key.text, check_regexp(search), new.text) for key, search, new in patterns
        ),
    )


_QUERY_ORDER = ("rename", "set", "add", "delete")


def _in_order(steps: list[tuple[str, str, str]]) -> tuple[tuple[str, str, str], ...]:
    """Sort the steps as Caddy applies them (rewrite.go queryOps.do)."""
    return tuple(sorted(steps, key=lambda step: _QUERY_ORDER.index(step[0])))


def _query_step(line: tuple[Token, ...], segment: Segment) -> tuple[str, str, str]:
    key, values = line[0].text, texts(line[1:])
    if key.startswith("-") and not values:
        return "delete", key.lstrip("-"), ""
    if key.startswith("+") and len(values) == 1:
        return "add", key.lstrip("+"), values[0]
    if ">" in key and not values and key[0] not in "+-":
        old, new = key.split(">")[:2]
        return "rename", old, new
    if key and key[0] not in "+-" and ">" not in key and len(values) == 1:
        return "set", key, values[0]
    raise wrong_count(segment, "uri query KEY VALUE, +KEY VALUE, -KEY or OLD>NEW")


def _read_lines(segment: Segment) -> list[tuple[Token, ...]]:
    for inner in segment.block or ():
        refuse_block(inner)
    return [(inner.name, *inner.arguments) for inner in segment.block or ()]


def read_vars(segment: Segment, _: Reading) -> SetVariables:
    """`vars [<name> <value>] { <name> <value> }`."""
    lines = [segment.arguments] if segment.arguments else []
    lines += _read_lines(segment)
    variables: dict[str, str] = {}
    literals: set[str] = set()
    for line in lines:
        if len(line) != 2:
            raise wrong_count(segment, "vars NAME VALUE")
        name, value = line
        variables[name.text] = value.text
        literals.discard(name.text)
        if not value.quoted and is_literal(value.text):
            literals.add(name.text)
    return SetVariables(tuple(sorted(variables.items())), tuple(sorted(literals)))


def is_literal(text: str) -> bool:
    """Whether an unquoted value is a number or boolean to Caddy (Dispenser.ScalarVal)."""
    return text in ("true", "false") or re.fullmatch(r"-?(0|[1-9]\d{0,14})(\.\d{1,9})?", text) is not None


def read_root(segment: Segment, _: Reading) -> SetVariables:
    """`root <path>`: the variable that file handlers read."""
    return SetVariables((("root", only_argument(segment, "root [MATCHER] PATH").text),))


def read_request_body(segment: Segment, reading: Reading) -> RequestBody:
    """`request_body { max_size <size> ; set <text> }`."""
    size, content = 0, ""
    size_text = segment.arguments[0].text if segment.arguments else ""
    for inner in take_block(segment, reading, f"write max_size {size_text} in its block"):
        check(reading, Kind.SUBDIRECTIVE, inner.name.text, inner.name, "request_body")
        if inner.name.text == "set":
            content = only_argument(inner, "set TEXT").text
        else:
            size = size_bytes(only_argument(inner, "max_size SIZE"))
    return RequestBody(size, content)


def read_basic_auth(segment: Segment, reading: Reading) -> BasicAuth:
    """`basic_auth [<algorithm> [<realm>]] { <name> <hash> }`."""
    if len(segment.arguments) > 2:
        raise wrong_count(segment, "basic_auth [ALGORITHM [REALM]]")
    algorithm = segment.arguments[0] if segment.arguments else None
    if algorithm is not None and algorithm.text not in ("bcrypt", "argon2id"):
        raise refusal(Code.ZS0103, f"unknown hash {algorithm.text!r}", algorithm, "write bcrypt or argon2id")
    accounts: dict[str, str] = {}
    for inner in segment.block or ():
        refuse_block(inner)
        name, hashed = inner.name, inner.arguments
        if len(hashed) != 1 or not name.text or not hashed[0].text:
            raise wrong_count(inner, "NAME HASH")
        if name.text in accounts:
            raise refusal(Code.ZS0103, f"account {name.text} stands twice", name, "remove one")
        accounts[name.text] = hashed[0].text
    if not accounts:
        # Caddy takes it too, and lets nobody in.
        reading.warn(
            Code.ZS0102,
            "basic_auth has no account and lets nobody in",
            segment.name,
            "write NAME HASH in its block",
        )
    realm = segment.arguments[1].text if len(segment.arguments) == 2 else "restricted"
    return BasicAuth(tuple(accounts.items()), realm)
