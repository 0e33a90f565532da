"""Matchers: inline (`*`, `/path`, `@name`), named, and nested under `not`.

In: the tokens of a directive's first argument, or a matcher definition. Out: matcher sets of the tree,
sorted by module so that equal sets are equal values (Caddy holds a set as a map). Called by every
directive reader. Syntax: caddyhttp/matchers.go, ip_matchers.go, vars.go.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from zeroserve_ir.caddyfile.lexer import Quote, Token
from zeroserve_ir.caddyfile.limits import DEPTH_MAX
from zeroserve_ir.caddyfile.meaning.fields import canonical_field
from zeroserve_ir.caddyfile.meaning.file_matching import read_file_matcher
from zeroserve_ir.caddyfile.meaning.profiles import Kind, check, check_placeholder
from zeroserve_ir.caddyfile.meaning.reading import (
    PRIVATE_RANGES,
    Profile,
    Reading,
    Scope,
    refusal,
    texts,
    wrong_count,
)
from zeroserve_ir.caddyfile.meaning.url_patterns import read_url_pattern
from zeroserve_ir.caddyfile.printer_surface import written_form
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.expressions.checking import compile_expression, find_matchers, find_placeholders
from zeroserve_ir.expressions.nodes import ExpressionError
from zeroserve_ir.regular_expressions import PatternError, check_pattern
from zeroserve_ir.tree import (
    MatchClientIp,
    Matcher,
    MatchErrorStatus,
    MatcherSet,
    MatchExpression,
    MatchHeader,
    MatchHeaderRegexp,
    MatchHost,
    MatchMethod,
    MatchNot,
    MatchPath,
    MatchPathExact,
    MatchPathPrefix,
    MatchPathRegexp,
    MatchProtocol,
    MatchQuery,
    MatchRemoteIp,
    MatchVars,
    MatchVarsRegexp,
)
from zeroserve_ir.tree_carried import Carried, CarriedMatcher
from zeroserve_ir.tree_files import MatchFile

MODULES: dict[type[Matcher], str] = {
    MatchClientIp: "client_ip",
    MatchErrorStatus: "expression",
    MatchFile: "file",
    MatchExpression: "expression",
    MatchHeader: "header",
    MatchHeaderRegexp: "header_regexp",
    MatchHost: "host",
    MatchMethod: "method",
    MatchNot: "not",
    MatchPath: "path",
    MatchPathExact: "path_regexp",
    MatchPathPrefix: "path_regexp",
    MatchPathRegexp: "path_regexp",
    MatchProtocol: "protocol",
    MatchQuery: "query",
    MatchRemoteIp: "remote_ip",
    MatchVars: "vars",
    MatchVarsRegexp: "vars_regexp",
}
"""The matcher module of Caddy that a type of the tree stands for."""


def split_matcher(segment: Segment, scope: Scope) -> tuple[tuple[MatcherSet, ...], Segment]:
    """Return the matcher sets of a directive (none: every request), and the directive without them."""
    if not segment.arguments:
        return (), segment
    first = segment.arguments[0]
    rest = Segment(segment.name, segment.arguments[1:], segment.block)
    if first.text == "*":
        return (), rest
    if first.text.startswith("/"):
        return ((MatchPath((first.text,)),),), rest
    if first.text.startswith("@"):
        found = scope.matchers.get(first.text)
        if found is None:
            cure = "define it in this block or around it"
            raise refusal(Code.ZS0104, f"matcher {first.text} is not defined", first, cure)
        return (found,), rest
    return (), segment


def define_matcher(segment: Segment, scope: Scope) -> None:
    """Read `@name …` into the scope; a name that is wrong stays defined, so that it is reported once."""
    name = segment.name
    if name.text in scope.matchers:
        raise refusal(Code.ZS0105, f"matcher {name.text} is defined twice", name, "rename one of them")
    scope.matchers[name.text] = ()
    if segment.arguments and segment.arguments[0].quoted:
        check(scope.reading, Kind.MATCHER, "expression", segment.arguments[0])
    scope.matchers[name.text] = _read_set(segment.arguments, segment.block, scope.reading, name.text[1:], 0)


def read_set(segment: Segment, reading: Reading) -> MatcherSet:
    """Read the matchers that follow a segment's own name: one on the line, or several in the block."""
    return _read_set(segment.arguments, segment.block, reading, "", 0)


def _read_set(
    arguments: Sequence[Token],
    block: tuple[Segment, ...] | None,
    reading: Reading,
    name: str,
    depth: int,
) -> MatcherSet:
    """Read one matcher on the line, or several in the block; instances of one module are merged."""
    segments = list(block or ())
    if arguments:
        segments = [Segment(arguments[0], tuple(arguments[1:]), block)]
    modules: dict[str, list[Segment]] = {}
    for segment in segments:
        modules.setdefault("expression" if segment.name.quoted else segment.name.text, []).append(segment)
    matchers: list[Matcher] = []
    for module in sorted(modules):
        for segment in modules[module]:
            check(reading, Kind.MATCHER, module, segment.name)
            if segment.block and module not in ("file", "not", "url_pattern"):
                raise refusal(
                    Code.ZS0001, f"matcher {module} takes no block", segment.name, "remove the block"
                )
        matchers += _read_module(module, modules[module], reading, name, depth)
    return tuple(matchers)


def _read_module(
    module: str, segments: list[Segment], reading: Reading, name: str, depth: int
) -> list[Matcher]:
    arguments = [token for segment in segments for token in segment.arguments]
    match module:
        case "url_pattern":
            return [read_url_pattern(segments, reading)]
        case "tls":
            return [_read_tls(segments)]
        case "path":
            return [MatchPath(texts(arguments))]
        case "host":
            _check_hosts(reading, arguments)
            return [MatchHost(texts(arguments))]
        case "method":
            return [MatchMethod(texts(arguments))]
        case "remote_ip":
            return [MatchRemoteIp(read_ranges(arguments))]
        case "client_ip":
            return [MatchClientIp(read_ranges(arguments))]
        case "protocol":
            return [_read_protocol(segments)]
        case "path_regexp":
            return [_read_path_regexp(segments, name)]
        case "header":
            return [read_header_fields(segments)]
        case "header_regexp":
            return list(_read_header_regexps(segments, name))
        case "query":
            return [_read_query(arguments)]
        case "vars":
            return [_read_vars(segments)]
        case "file":
            return [read_file_matcher(segments, reading)]
        case "vars_regexp":
            return list(_read_vars_regexps(segments, name))
        case "expression":
            return [_read_expression(segments[0], name, reading)]
        case _:
            return [_read_not(segments, reading, depth)]


def _check_hosts(reading: Reading, arguments: list[Token]) -> None:
    """Refuse hosts that are not the tenant's."""
    if reading.tenancy is None:
        return
    for token in arguments:
        host = token.text.lower()
        owned = any(
            host == own or (own.startswith("*.") and host.partition(".")[2] == own[2:])
            for own in reading.tenancy.hosts
        )
        if not owned:
            cure = "name one of the object's own hosts"
            raise refusal(Code.ZS0201, f"host {token.text} is not one of the object's", token, cure)


def read_ranges(arguments: Sequence[Token]) -> tuple[str, ...]:
    """Return CIDRs or addresses as written, with `private_ranges` written out."""
    ranges: list[str] = []
    for token in arguments:
        if token.text == "private_ranges":
            ranges += PRIVATE_RANGES
        elif "{" in token.text or is_range(token.text):
            ranges.append(token.text)
        else:
            cure = "write for example 10.0.0.0/8, 2001:db8::1 or private_ranges"
            raise refusal(Code.ZS0103, f"{token.text!r} is neither an address nor a range", token, cure)
    return tuple(ranges)


def is_range(text: str) -> bool:
    """Whether a text is an address or a CIDR range."""
    address, slash, bits = text.partition("/")
    try:
        width = ipaddress.ip_address(address.partition("%")[0]).max_prefixlen
    except ValueError:
        return False
    return not slash or (bits.isdecimal() and int(bits) <= width)


_PROTOCOLS = re.compile(r"https?|grpc|http/(1\.0|1\.1|2|3)\+?")


def _read_protocol(segments: list[Segment]) -> MatchProtocol:
    for segment in segments:
        if len(segment.arguments) != 1:
            raise wrong_count(segment, "protocol NAME")
    token = segments[-1].arguments[0]
    if not _PROTOCOLS.fullmatch(token.text):
        cure = "write http, https, grpc, or http/1.0, http/1.1, http/2, http/3, with + for newer ones"
        raise refusal(Code.ZS0103, f"unknown protocol {token.text!r}", token, cure)
    return MatchProtocol(token.text)


def _read_tls(segments: list[Segment]) -> CarriedMatcher:
    """`tls [early_data]`: no request here comes before its handshake is over."""
    settings = {}
    for segment in segments:
        words = texts(segment.arguments)
        if words == ("early_data",):
            settings = {"handshake_complete": False}
        elif words:
            cure = "write tls, or tls early_data"
            raise refusal(Code.ZS0103, f"unknown option {words[0]!r} of tls", segment.arguments[0], cure)
    return CarriedMatcher("tls", Carried.of(settings, written_form(segments), segments[0].span))


def check_regexp(pattern: Token) -> str:
    """Return a pattern that the engine takes."""
    try:
        check_pattern(pattern.text)
    except PatternError as error:
        raise refusal(Code.ZS0106, f"invalid regular expression: {error}", pattern, error.cure) from None
    return pattern.text


def _read_path_regexp(segments: list[Segment], name: str) -> MatchPathRegexp:
    if len(segments) > 1:
        cure = "join the patterns with |, or define two matchers"
        raise refusal(Code.ZS0105, "path_regexp stands once in a matcher", segments[1].name, cure)
    arguments = segments[0].arguments
    if len(arguments) not in (1, 2):
        raise wrong_count(segments[0], "path_regexp [NAME] PATTERN")
    given = arguments[0].text if len(arguments) == 2 else ""
    return MatchPathRegexp(check_regexp(arguments[-1]), given or name)


def read_header_fields(segments: list[Segment]) -> MatchHeader:
    """Read `header <field> <value>` and `header !<field>`; several lines are one matcher."""
    fields: dict[str, tuple[str, ...] | None] = {}
    for segment in segments:
        arguments = segment.arguments
        if not arguments or len(arguments) > 2:
            raise wrong_count(segment, "header FIELD VALUE, or header !FIELD")
        field = arguments[0].text
        if field.startswith("!"):
            if len(field) == 1 or len(arguments) > 1:
                raise wrong_count(segment, "header !FIELD")
            fields[field[1:]] = None
        elif len(arguments) == 1:
            raise wrong_count(segment, f"header {field} VALUE (* for any)")
        else:
            field = canonical_field(field)
            fields[field] = (*(fields.get(field) or ()), arguments[1].text)
    return MatchHeader(tuple(sorted(fields.items(), key=lambda item: item[0])))


def _read_header_regexps(segments: list[Segment], name: str) -> list[MatchHeaderRegexp]:
    found: dict[str, MatchHeaderRegexp] = {}
    for segment in segments:
        arguments = segment.arguments
        if len(arguments) not in (2, 3):
            raise wrong_count(segment, "header_regexp [NAME] FIELD PATTERN")
        field = arguments[-2].text
        if field in found:
            cure = "join the patterns with |"
            raise refusal(Code.ZS0105, f"header_regexp stands once for field {field}", segment.name, cure)
        given = arguments[0].text if len(arguments) == 3 else ""
        found[field] = MatchHeaderRegexp(field, check_regexp(arguments[-1]), given or name)
    return [found[field] for field in sorted(found)]


def _read_query(arguments: list[Token]) -> MatchQuery:
    keys: dict[str, tuple[str, ...]] = {}
    for token in arguments:
        if not token.text:
            continue
        key, equals, value = token.text.partition("=")
        if not equals:
            raise refusal(
                Code.ZS0103, f"query {token.text!r} has no =", token, f"write {token.text}=* for any value"
            )
        keys[key] = (*keys.get(key, ()), value)
    return MatchQuery(tuple(sorted(keys.items())))


def _read_vars(segments: list[Segment]) -> MatchVars:
    variables: dict[str, tuple[str, ...]] = {}
    for segment in segments:
        if len(segment.arguments) < 2:
            raise wrong_count(segment, "vars NAME VALUE …")
        name, *values = texts(segment.arguments)
        variables[name] = (*variables.get(name, ()), *values)
    return MatchVars(tuple(sorted(variables.items())))


def _read_vars_regexps(segments: list[Segment], name: str) -> list[MatchVarsRegexp]:
    found: dict[str, MatchVarsRegexp] = {}
    for segment in segments:
        arguments = segment.arguments
        if len(arguments) not in (2, 3):
            raise wrong_count(segment, "vars_regexp [NAME] VARIABLE PATTERN")
        subject = arguments[-2].text
        given = arguments[0].text if len(arguments) == 3 else ""
        found[subject] = MatchVarsRegexp(subject, check_regexp(arguments[-1]), given or name)
    return [found[subject] for subject in sorted(found)]


def _read_expression(segment: Segment, name: str, reading: Reading) -> MatchExpression:
    """Read CEL: one word is the expression, of several the quotes are part of it (celmatcher.go)."""
    tokens = (segment.name, *segment.arguments) if segment.name.quoted else segment.arguments
    if not tokens:
        raise wrong_count(segment, "expression CEL")
    matcher = MatchExpression(" ".join(_with_quotes(token) for token in tokens))
    if len(tokens) == 1:
        matcher = MatchExpression(tokens[0].text, name)
    try:
        node = compile_expression(matcher.expression, matcher.name)
    except ExpressionError as error:
        code = Code.ZS0110 if error.unsupported else Code.ZS0112
        label = f"character {error.offset + 1} of the expression"
        if reading.profile is Profile.LOCAL and not error.unsupported:
            # `caddy adapt` takes any text; what serves is refused by lowering.
            reading.warn(code, f"{error.message} ({label})", tokens[0], error.cure)
            return matcher
        raise refusal(code, error.message, tokens[0], error.cure, label) from None
    for found in find_placeholders(node):
        check_placeholder(reading, found, tokens[0])
    for inner in find_matchers(node):
        check(reading, Kind.MATCHER, MODULES[type(inner)], tokens[0])
    return matcher


def _with_quotes(token: Token) -> str:
    quote = "" if token.quote is Quote.HEREDOC else token.quote.value
    return f"{quote}{token.text}{quote}"


def _read_not(segments: list[Segment], reading: Reading, depth: int) -> MatchNot:
    if depth > DEPTH_MAX:
        message = f"matchers are nested deeper than {DEPTH_MAX}"
        raise refusal(Code.ZS0202, message, segments[0].name, "flatten them")
    sets = [_read_set(segment.arguments, segment.block, reading, "", depth + 1) for segment in segments]
    return MatchNot(tuple(sets))
