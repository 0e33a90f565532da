"""Host names as they come over the wire: labels beyond ASCII in their `xn--` form.

In: names as people write them. Out: names as clients send them in Host and SNI. Who calls: drafting and
lowering; what `adapt` prints keeps the written form. Whoever joins a host and a port takes `spell_authority`.
Rule: like Go's `idna.ToASCII`, by which Caddy spells its matchers: RFC 3492 on each label, no mapping.
"""

from __future__ import annotations

from dataclasses import replace

from zeroserve_ir.tree import Configuration, Site


def spell_host(host: str) -> str:
    """Return a name, pattern or address with every label in ASCII."""
    return host if host.isascii() else ".".join(_spell_label(label) for label in host.split("."))


def spell_authority(host: str) -> str:
    """Return a host as it stands before a port: an address of IPv6 in brackets (RFC 3986 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def spell_hosts(configuration: Configuration) -> Configuration:
    """Return a configuration whose sites have the names that clients send."""
    if all(one.host.isascii() for site in configuration.sites for one in site.addresses):
        return configuration
    return replace(configuration, sites=tuple(_spell_site(site) for site in configuration.sites))


def _spell_site(site: Site) -> Site:
    return replace(site, addresses=tuple(replace(one, host=spell_host(one.host)) for one in site.addresses))


def _spell_label(label: str) -> str:
    return label if label.isascii() else f"xn--{label.encode('punycode').decode()}"
