"""The http sites that send visitors to https, as Caddy makes them when it starts.

In: a configuration. Out: the same with sites on the HTTP port added. They are not in what `adapt`
prints: Caddy makes them from the adapted JSON too (caddyhttp/autohttps.go). Called by `zeroserve run`.
"""

from __future__ import annotations

from dataclasses import replace

from zeroserve_ir.tree import Configuration, Options, Route, Scheme, Site, SiteAddress, StaticResponse

_STANDARD_PORTS = (80, 443)


def add_redirects(configuration: Configuration) -> Configuration:
    """Add a redirect for each https host that has no http site of its own, and one for all others.

    Nothing is added under `auto_https off` or `disable_redirects`, or where no site has TLS.
    """
    options = configuration.options
    if not (options.auto_https and options.redirects):
        return configuration
    added: list[Site] = []
    for bind in dict.fromkeys(site.bind for site in configuration.sites):
        if bind and all(one.startswith(("unix", "fd")) for one in bind):
            continue  # Nobody comes by another port.
        added += _redirects([site for site in configuration.sites if site.bind == bind], bind, options)
    return replace(configuration, sites=configuration.sites + tuple(added))


def _redirects(sites: list[Site], bind: tuple[str, ...], options: Options) -> list[Site]:
    addresses = [address for site in sites for address in site.addresses]
    # A path in an address narrows a site: the rest of its host is still to be sent on.
    taken = {one.host for one in addresses if one.port == options.http_port and not one.path}
    ports: dict[str, int] = {}
    for address in addresses:
        if address.scheme is Scheme.HTTPS:
            ports.setdefault(address.host, address.port)
    if not ports:
        return []
    ports.setdefault("", options.https_port)
    hosts_by_port: dict[int, list[str]] = {}
    for host, port in ports.items():
        if host not in taken:
            hosts_by_port.setdefault(port, []).append(host)
    return [
        Site(
            tuple(SiteAddress(Scheme.HTTP, host, options.http_port) for host in hosts),
            (_redirect(port, options),),
            bind=bind,
        )
        for port, hosts in hosts_by_port.items()
    ]


def _redirect(port: int, options: Options) -> Route:
    known = (*_STANDARD_PORTS, options.http_port, options.https_port)
    suffix = "" if port in known else f":{port}"
    location = f"https://{{http.request.host}}{suffix}{{http.request.uri}}"
    return Route((StaticResponse("308", headers=(("Location", location),), close=True),))
