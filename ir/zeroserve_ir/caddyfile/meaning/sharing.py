"""What sites of one listener must agree on: it speaks HTTP or HTTPS, and signed names are names.

In: sites as read, with the keys that they were written with. Out: findings, where Caddy refuses to adapt
(httpcaddyfile/httptype.go detectConflictingSchemes, tlsapp.go buildTLSApp). Called by `sites`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zeroserve_ir.caddyfile.adapting_connections import connection_policies
from zeroserve_ir.caddyfile.adapting_names import is_certifiable, is_tailscale
from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.listening import Server
from zeroserve_ir.caddyfile.meaning.addresses import WrittenAddress, split_address
from zeroserve_ir.caddyfile.meaning.securing import list_directives, names_issuer
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.tree import Options, Scheme, Site
from zeroserve_ir.tree_carried import Json


@dataclass(frozen=True, slots=True)
class KeyedSite:
    """A site, and its addresses as they were written, one for one."""

    site: Site
    keys: tuple[Token, ...]


def find_unsignable_hosts(sites: Sequence[KeyedSite], options: Options, others: Json) -> Iterator[Diagnostic]:
    """Report hosts for which no certificate can be had, where the site names nobody to sign it."""
    if "cert_issuer" in others or "local_certs" in others:
        return
    for keyed in sites:
        if keyed.site.tls is not None and names_issuer(keyed.site.tls):
            continue
        for key, address in zip(keyed.keys, keyed.site.addresses, strict=True):
            if address.scheme is Scheme.HTTP or address.port == options.http_port or not address.host:
                continue
            if address.host == "}":
                cure = "remove it, or open its block"
                yield Diagnostic(Code.ZS0001, "unexpected '}' without an opening brace", key.span, help=cure)
            elif not is_tailscale(address.host) and not is_certifiable(address.host):
                message = f"no authority signs a certificate for {address.host!r}"
                cure = "write the name out (is a variable of it not set?), or http:// for a site without TLS"
                yield Diagnostic(Code.ZS0107, message, key.span, help=cure)


def find_mixed_schemes(
    servers: Sequence[Server], sites: Sequence[KeyedSite], options: Options, others: Json
) -> Iterator[Diagnostic]:
    """Report addresses of plain HTTP on listeners that are of HTTPS, by address or by `tls`."""
    for server in servers:
        written = [pair for pair in _written(server, sites) if not _stands_for_either(pair[1], options)]
        plain = [key for key, one in written if _is_plain(one, options)]
        bare = [key for key, one in written if _is_bare(one, options)]
        if not plain and not bare:
            continue
        secured = len(written) > len(plain) + len(bare)
        if _has_policies(server, sites, options, others):
            secured, bare = True, []
        refused = [*plain, *bare] if secured else []
        listener = ", ".join(server.listen)
        for key in refused[:1]:
            message = f"{key.text} is of HTTP, other sites or tls make {listener} one of HTTPS"
            cure = "write https:// and a host, use another port, or leave tls out"
            yield Diagnostic(Code.ZS0107, message, key.span, help=cure)


def _written(server: Server, sites: Sequence[KeyedSite]) -> Iterator[tuple[Token, WrittenAddress]]:
    for served in server.sites:
        keyed = sites[served.index]
        addresses = frozenset(served.addresses)
        for key, address in zip(keyed.keys, keyed.site.addresses, strict=True):
            if address in addresses:
                yield key, split_address(key)


def _is_plain(written: WrittenAddress, options: Options) -> bool:
    return written.scheme == "http" or written.port == str(options.http_port)


def _is_bare(written: WrittenAddress, options: Options) -> bool:
    ports = (str(options.http_port), str(options.https_port))
    return not written.scheme and not written.host and written.port not in ports


def _stands_for_either(written: WrittenAddress, options: Options) -> bool:
    """Whether an address goes along with the others: a host without scheme, on no port that says it."""
    ports = (str(options.http_port), str(options.https_port))
    return bool(not written.scheme and written.host and written.port not in ports)


def _has_policies(server: Server, sites: Sequence[KeyedSite], options: Options, others: Json) -> bool:
    found = {
        served.index: list_directives(tls)
        for served in server.sites
        if (tls := sites[served.index].site.tls) is not None
    }
    if not found and not ("default_sni" in others or "fallback_sni" in others):
        return False
    files = (pair[0] for directives in found.values() for one in directives for pair in one.get("files", ()))
    tags = {certificate: certificate for certificate in files}
    return bool(connection_policies(server, lambda index: found.get(index, []), tags, options, others))
