"""`{path}` and the like become `{http.request.uri.path}`, in every token of a segment.

In and out: segments. Called once per site and option block before directives are read
(Caddy: httpcaddyfile/shorthands.go).
"""

from __future__ import annotations

import re

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.syntax import Segment


def expand_segment(segment: Segment) -> Segment:
    """Return the segment with shorthands written out, at any depth."""
    return Segment(
        _expand_token(segment.name),
        tuple(_expand_token(token) for token in segment.arguments),
        None if segment.block is None else tuple(expand_segment(inner) for inner in segment.block),
    )


def _expand_token(token: Token) -> Token:
    return token.with_text(expand_text(token.text)) if "{" in token.text else token


def expand_text(text: str) -> str:
    """Write out the shorthands of one text."""
    return _FAMILY.sub(
        lambda found: f"{{{_FAMILIES[found[1]]}.{found[2]}}}", _SIMPLE.sub(_expand_simple, text)
    )


def _expand_simple(found: re.Match[str]) -> str:
    return f"{{{SHORTHANDS[found[1]]}}}"


SHORTHANDS = {
    "host": "http.request.host",
    "hostport": "http.request.hostport",
    "port": "http.request.port",
    "orig_method": "http.request.orig_method",
    "orig_uri": "http.request.orig_uri",
    "orig_path": "http.request.orig_uri.path",
    "orig_dir": "http.request.orig_uri.path.dir",
    "orig_file": "http.request.orig_uri.path.file",
    "orig_query": "http.request.orig_uri.query",
    "orig_?query": "http.request.orig_uri.prefixed_query",
    "method": "http.request.method",
    "uri": "http.request.uri",
    "%uri": "http.request.uri_escaped",
    "path": "http.request.uri.path",
    "%path": "http.request.uri.path_escaped",
    "dir": "http.request.uri.path.dir",
    "file": "http.request.uri.path.file",
    "query": "http.request.uri.query",
    "%query": "http.request.uri.query_escaped",
    "?query": "http.request.uri.prefixed_query",
    "remote": "http.request.remote",
    "remote_host": "http.request.remote.host",
    "remote_port": "http.request.remote.port",
    "scheme": "http.request.scheme",
    "uuid": "http.request.uuid",
    "tls_cipher": "http.request.tls.cipher_suite",
    "tls_version": "http.request.tls.version",
    "tls_client_fingerprint": "http.request.tls.client.fingerprint",
    "tls_client_issuer": "http.request.tls.client.issuer",
    "tls_client_serial": "http.request.tls.client.serial",
    "tls_client_subject": "http.request.tls.client.subject",
    "tls_client_certificate_pem": "http.request.tls.client.certificate_pem",
    "tls_client_certificate_der_base64": "http.request.tls.client.certificate_der_base64",
    "upstream_hostport": "http.reverse_proxy.upstream.hostport",
    "client_ip": "http.vars.client_ip",
}
"""Shorthand without braces -> placeholder without braces."""

_FAMILIES = {
    "header": "http.request.header",
    "cookie": "http.request.cookie",
    "labels": "http.request.host.labels",
    "path": "http.request.uri.path",
    "file": "http.request.uri.path.file",
    "query": "http.request.uri.query",
    "re": "http.regexp",
    "vars": "http.vars",
    "rp": "http.reverse_proxy",
    "resp": "http.intercept",
    "err": "http.error",
    "file_match": "http.matchers.file",
}
_SIMPLE = re.compile(
    "{(" + "|".join(re.escape(name) for name in sorted(SHORTHANDS, key=len, reverse=True)) + ")}"
)
_DOTTED = "re|rp|resp|err"
_FAMILY = re.compile(
    r"\{(?:(?=(?:"
    + _DOTTED
    + r")\.[\w.-]*\})|(?=[a-z_]+\.[\w-]*\}))("
    + "|".join(_FAMILIES)
    + r")\.([\w.-]*)\}",
    re.ASCII,
)
