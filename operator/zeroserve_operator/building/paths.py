"""Paths of an Ingress: from what is written to what a request is compared with.

In: a path and its type, and whether its host compares by regular expression. Out: a `PathRule`, or why there
is none. Rules of the API: core/v1 validation of networking.k8s.io (ValidateIngress); of ingress-nginx:
template.go, buildLocation, and location.go, updateServerLocations.
"""

from __future__ import annotations

import re

from zeroserve_ir.model import PathKind, PathRule
from zeroserve_ir.regular_expressions import PatternError, check_pattern

from zeroserve_operator.resources.ingresses import PathType

PATH_BYTES_MAX = 4096
_REFUSED = ("//", "/./", "/../", "%2f", "%2F")
_REFUSED_ENDS = ("/.", "/..")
_UNRESERVED = re.compile(rb"[A-Za-z0-9._~-]")
# What a normalised path keeps as it is: RFC 3986 pchar, "/", "[" and "]" (the engine's exchange/paths.rs).
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})|([^A-Za-z0-9._~!$&'()*+,;=:@/\[\]%-])|(%)")
_META = frozenset("\\.+*?()|[]{}^$")
_LOOKS_LIKE_PATTERN = re.compile(r"[*()\[\]|^$\\]")


class PathError(Exception):
    """A path that cannot be served; says why."""


def make_rule(path: str, path_type: PathType, by_regexp: bool) -> PathRule:
    """Return the rule of a path; raises `PathError`."""
    if not path and path_type is PathType.IMPLEMENTATION_SPECIFIC:
        path = "/"
    if not path.startswith("/"):
        raise PathError(f"path `{path}` must begin with a slash")
    if len(path.encode("utf-8", "replace")) > PATH_BYTES_MAX:
        raise PathError(f"path is longer than {PATH_BYTES_MAX} bytes")
    if by_regexp:
        return PathRule(PathKind.REGEXP, _check_regexp(path))
    if path_type is not PathType.IMPLEMENTATION_SPECIFIC:
        _check_literal(path)
    text = normalise(path)
    match path_type:
        case PathType.EXACT:
            return PathRule(PathKind.EXACT, text)
        case PathType.PREFIX:
            return PathRule(PathKind.PREFIX, text.rstrip("/") or "/")
    return PathRule(PathKind.TEXT_PREFIX if text != "/" else PathKind.PREFIX, text)


def make_covering_rule(path: str) -> PathRule:
    """Return a rule that covers at least what an unusable path may have meant.

    For paths with access control: what they were to protect must not fall to a wider path that is open.
    """
    text = "/" + path.lstrip("/")
    depth = 0
    for char in text:
        depth += (char == "(") - (char == ")")
        if char == "|" and depth <= 0:
            return PathRule(PathKind.REGEXP, "/")
    end = next((index for index, char in enumerate(text) if char in _META or char == "%"), len(text))
    # What stands before a quantifier may be absent.
    if end < len(text) and text[end] in "*?{" and end > 1:
        end -= 1
    literal = re.sub(r"/+", "/", text[:end])
    return PathRule(PathKind.REGEXP, re.escape(literal))


def looks_like_pattern(path: str) -> bool:
    """Tell whether a literal path holds characters that its author may have meant as a pattern."""
    return _LOOKS_LIKE_PATTERN.search(path) is not None


def order_of(rule: PathRule) -> tuple[int, int, str]:
    """Sort key of a host's paths without regular expressions: longest first, then exact before prefix."""
    length = len(rule.path.encode())
    if rule.kind is PathKind.EXACT or (rule.kind is PathKind.PREFIX and rule.path != "/"):
        length += 1
    rank = {PathKind.EXACT: 0, PathKind.PREFIX: 1}.get(rule.kind, 2)
    return (-length, rank, rule.path)


def normalise(path: str) -> str:
    """Return a path as the engine has request paths: unreserved characters plain, all others encoded."""

    def encode(match: re.Match[bytes]) -> bytes:
        if match[1]:
            byte = bytes.fromhex(match[1].decode())
            return byte if _UNRESERVED.fullmatch(byte) else b"%" + match[1].upper()
        return b"%%%02X" % (match[2] or match[3])[0]

    return _PERCENT.sub(encode, path.encode("utf-8", "replace")).decode("ascii")


def _check_literal(path: str) -> None:
    bad = next((text for text in _REFUSED if text in path), "")
    bad = bad or next((text for text in _REFUSED_ENDS if path.endswith(text)), "")
    if bad:
        raise PathError(f"path `{path}` must not hold `{bad}`")


def _check_regexp(path: str) -> str:
    try:
        check_pattern(path)
    except PatternError as error:
        raise PathError(f"path `{path}` is no regular expression: {error}") from error
    return path
