"""Site addresses: what `example.com`, `http://:8080` or `*.example.com/api` ask for.

In: a key of a site block, and the ports of the options. Out: the address with its defaults
(httpcaddyfile/addresses.go ParseAddress, Normalize, listenersForServerBlockAddress).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.reading import refusal
from zeroserve_ir.caddyfile.meaning.upstreams import split_host_port
from zeroserve_ir.codes import Code
from zeroserve_ir.tree import Options, Scheme, SiteAddress

_LENGTH_MAX = 4096


@dataclass(frozen=True, slots=True)
class WrittenAddress:
    """The parts of an address as written; "" is what was left out."""

    scheme: str
    host: str
    port: str
    path: str


def split_address(token: Token) -> WrittenAddress:
    """Take an address apart; scheme and host in lower case, IPv6 hosts in their short form."""
    text = token.text.strip()[:_LENGTH_MAX]
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    authority, slash, path = rest.partition("/")
    host, port = split_host_port(authority)
    if port and not re.fullmatch(r"[+-]?\d+", port):
        cure = "write {$NAME} for a variable" if "${" in port else "write HOST:PORT"
        raise refusal(Code.ZS0107, f"port {port!r} is not a number", token, cure)
    if port and not 0 <= int(port) <= 65535:
        raise refusal(Code.ZS0107, f"port {port} is out of range", token, "write a port from 1 to 65535")
    scheme = _lower(scheme)
    cures = {"ws": "write http://", "wss": "write https://"}
    if scheme not in ("", "http", "https"):
        cure = cures.get(scheme, "write http:// or https://")
        raise refusal(Code.ZS0107, f"unsupported scheme {scheme}://", token, cure)
    return WrittenAddress(
        scheme, _lower(_short_ip(host.strip())), str(int(port)) if port else "", slash + path
    )


def _short_ip(host: str) -> str:
    if ":" not in host:
        return host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(address)
    return host


def _lower(text: str) -> str:
    """Lower case, placeholders apart."""
    if "{" not in text:
        return text.lower()
    return "".join(part if part.startswith("{") else part.lower() for part in re.split(r"(\{[^}]*\})", text))


def resolve_address(written: WrittenAddress, token: Token, options: Options, *, has_tls: bool) -> SiteAddress:
    """Fill in port and scheme; `has_tls` is whether the site has a `tls` directive."""
    default = options.http_port if written.scheme == "http" else options.https_port
    port = int(written.port) if written.port else default
    if (written.scheme, port) in (("http", options.https_port), ("https", options.http_port)):
        message = f"scheme {written.scheme}:// and port {port} contradict"
        raise refusal(Code.ZS0107, message, token, "leave out the scheme or the port")
    if written.scheme:
        scheme = Scheme(written.scheme)
    elif port == options.http_port:
        scheme = Scheme.HTTP
    elif written.host or has_tls or (port == options.https_port and options.auto_https):
        # Any name qualifies for TLS; a bare port only by directive, or as the HTTPS port (autohttps.go).
        scheme = Scheme.HTTPS
    else:
        scheme = Scheme.HTTP
    bare = written.scheme == "https" and not (written.host or written.port)
    return SiteAddress(scheme, written.host, port, written.path, bare)
