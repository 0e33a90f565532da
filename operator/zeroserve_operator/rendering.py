"""Rendering: a virtual host of the model to sites of the Caddyfile IR.

In: `model.VirtualHost`. Out: one `tree.Site` for HTTP and HTTPS where both serve the same, else one for each.
Rule: strings of users never meet text; a value that may hold placeholders is one that was checked for braces.
What a route does before its Service is asked is in `rendering_routes`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from zeroserve_ir import tree
from zeroserve_ir.model import (
    HttpsRedirect,
    PathKind,
    PathRoute,
    PathRule,
    VirtualHost,
)
from zeroserve_ir.plugins.attaching import watch_errors
from zeroserve_ir.sources import Span
from zeroserve_ir.tree import Scheme, ServiceReference

from zeroserve_operator.rendering_clients import render_clients
from zeroserve_operator.rendering_errors import BARE_ERROR
from zeroserve_operator.rendering_routes import make_upstream, render_errors, render_handlers
from zeroserve_operator.settings import BuildSettings, TracedHosts

ACME_PATH = "/.well-known/acme-challenge"
"""Never redirected: the challenge comes over plain HTTP (ingress-nginx: no-tls-redirect-locations)."""
STREAM_RETRIES = 2
"""Endpoints of a Service that are tried besides, where one refuses a stream's connection."""

_SPAN = (tree.Route((tree.Trace("{http.request.method}"),)),)
"""Named as OpenTelemetry's conventions name a server's span without a route; hosts have it in common."""


def render_host(host: VirtualHost, settings: BuildSettings) -> tuple[tree.Site, ...]:
    """Render a host; the HTTPS site comes last."""
    sites = _render_host(host, settings)
    if settings.tracing.hosts is not TracedHosts.ALL:
        return sites
    return tuple(
        replace(site, routes=_SPAN + site.routes) if not site.passthrough else site for site in sites
    )


def _render_host(host: VirtualHost, settings: BuildSettings) -> tuple[tree.Site, ...]:
    if host.body or not host.routes:
        return _render_body(host, settings)
    if host.passthrough is not None:
        return _render_passthrough(host, host.passthrough, settings)
    errors = watch_errors(_list_attachments(host), _render_error_routes(host))
    served = (*(_render_route(route) for route in host.routes), *_render_rest(host))
    redirecting = [_is_redirected(route, host) for route in host.routes]
    if not any(redirecting):
        addresses = (_address(host, Scheme.HTTP, settings), _address(host, Scheme.HTTPS, settings))
        return (_make_site(host, addresses, served, errors),)
    if all(redirecting) and not settings.trusted_proxies:
        plain: tuple[tree.Route, ...] = (_redirect_route((), settings),)
    else:
        plain = _render_mixed(host, redirecting, served, settings)
    return (
        _make_site(host, (_address(host, Scheme.HTTP, settings),), plain, errors),
        _make_site(host, (_address(host, Scheme.HTTPS, settings),), served, errors),
    )


def _render_body(host: VirtualHost, settings: BuildSettings) -> tuple[tree.Site, ...]:
    """Render the site body of a ZeroserveRoute: as a Caddyfile site, HTTPS only where TLS is set."""
    secure = _address(host, Scheme.HTTPS, settings)
    plain = _address(host, Scheme.HTTP, settings)
    if not host.tls:
        return (_make_site(host, (plain, secure), host.body, host.errors),)
    redirect = (_redirect_route((), settings),)
    return (_make_site(host, (plain,), redirect), _make_site(host, (secure,), host.body, host.errors))


def _render_passthrough(
    host: VirtualHost, service: ServiceReference, settings: BuildSettings
) -> tuple[tree.Site, ...]:
    """Render a host whose TLS ends at its Service; over plain HTTP it is served, or redirected, as others."""
    plain, *_ = _render_host(replace(host, passthrough=None), settings)
    plain = replace(plain, addresses=plain.addresses[:1], tls=None)
    handler = tree.ReverseProxy(
        upstreams=(make_upstream(service),),
        selection=tree.SelectionPolicy(tree.Selection.ROUND_ROBIN),
        retries=STREAM_RETRIES,
    )
    secure = _make_site(host, (_address(host, Scheme.HTTPS, settings),), (tree.Route((handler,)),))
    return (plain, replace(secure, tls=None, passthrough=True))


def _render_mixed(
    host: VirtualHost, redirecting: list[bool], served: tuple[tree.Route, ...], settings: BuildSettings
) -> tuple[tree.Route, ...]:
    """Render the plain HTTP routes of a host of which some redirect, or whose proxies are trusted."""
    routes = []
    for source, redirects, route in zip(host.routes, redirecting, served[: len(host.routes)], strict=True):
        if not redirects:
            routes.append(route)
            continue
        path = _match_path(source.rule)
        # No proxy has shown us the client's certificate.
        excepted = source.client is None and bool(settings.trusted_proxies)
        routes.append(_redirect_route(_unless_forwarded(path, settings) if excepted else path, settings))
        if excepted:
            routes.append(route)
    return (*routes, *_render_rest(host))


def _unless_forwarded(path: tree.MatcherSet, settings: BuildSettings) -> tree.MatcherSet:
    """Leave out what a trusted proxy took in over TLS (ingress-nginx: use-forwarded-headers)."""
    if not settings.trusted_proxies:
        return path
    forwarded = (
        tree.MatchRemoteIp(settings.trusted_proxies),
        tree.MatchHeader((("X-Forwarded-Proto", ("https",)),)),
    )
    return (*path, tree.MatchNot((forwarded,)))


def _redirect_route(matchers: tree.MatcherSet, settings: BuildSettings) -> tree.Route:
    port = "" if settings.https_port == 443 else f":{settings.https_port}"
    location = f"https://{{http.request.host}}{port}{{http.request.uri}}"
    handler = tree.StaticResponse(status="308", headers=(("Location", location),))
    return tree.Route((handler,), matchers=(matchers,) if matchers else (), terminal=bool(matchers))


def _is_redirected(route: PathRoute, host: VirtualHost) -> bool:
    if route.client is not None:
        return True
    path = route.rule.path
    if path == ACME_PATH or path.startswith(ACME_PATH + "/"):
        return False
    match route.redirect:
        case HttpsRedirect.ALWAYS:
            return True
        case HttpsRedirect.WHERE_TLS:
            return host.tls
    return False


def _render_route(route: PathRoute) -> tree.Route:
    span = Span("", 0, 0, 0, origin=route.origin)
    matchers = _match_path(route.rule)
    handlers = render_handlers(route)
    return tree.Route(handlers, matchers=(matchers,) if matchers else (), terminal=True, span=span)


def _render_rest(host: VirtualHost) -> tuple[tree.Route, ...]:
    """Answer 404 for what no path covers; a Caddyfile site would answer 200 there."""
    covered = any(route.rule == PathRule(PathKind.PREFIX, "/") for route in host.routes)
    return () if covered else (tree.Route((tree.RaiseError("404"),)),)


def _render_error_routes(host: VirtualHost) -> tuple[tree.Route, ...]:
    """Answer errors by path as requests are: a path without pages keeps its errors from a wider one's."""
    found = [(route, render_errors(route)) for route in host.routes]
    while found and found[-1][1] is None:
        found.pop()
    return tuple(
        tree.Route(
            (handler or BARE_ERROR,),
            matchers=(matchers,) if (matchers := _match_path(route.rule)) else (),
            terminal=True,
            span=Span("", 0, 0, 0, origin=route.origin),
        )
        for route, handler in found
    )


def _list_attachments(
    host: VirtualHost,
) -> Iterator[tuple[tuple[tree.MatcherSet, ...], tree.Subroute]]:
    """Yield the plugins of routes with the paths that they are attached to."""
    for route in host.routes:
        matchers = _match_path(route.rule)
        for plugin in route.plugins:
            if isinstance(plugin, tree.Subroute):
                yield (matchers,) if matchers else (), plugin


def _match_path(rule: PathRule) -> tree.MatcherSet:
    match rule.kind:
        case PathKind.EXACT:
            return (tree.MatchPathExact(rule.path),)
        case PathKind.PREFIX:
            return (tree.MatchPathPrefix(rule.path),)
        case PathKind.TEXT_PREFIX:
            return (tree.MatchPathRegexp(f"^{re.escape(rule.path)}"),)
    return (tree.MatchPathRegexp(f"(?i)^{rule.path}"),)


def _address(host: VirtualHost, scheme: Scheme, settings: BuildSettings) -> tree.SiteAddress:
    port = settings.https_port if scheme is Scheme.HTTPS else settings.http_port
    return tree.SiteAddress(scheme, host.host, port)


def _make_site(
    host: VirtualHost,
    addresses: tuple[tree.SiteAddress, ...],
    routes: tuple[tree.Route, ...],
    errors: tuple[tree.Route, ...] = (),
) -> tree.Site:
    secure = any(address.scheme is Scheme.HTTPS for address in addresses)
    tls = tree.SiteTls(secrets=host.certificates) if secure and host.certificates else None
    if secure and host.clients is not None:
        tls = replace(
            tls or tree.SiteTls(internal=True),
            client_depth=host.clients.depth,
            directives=render_clients(host.clients),
        )
    return tree.Site(
        addresses=addresses,
        routes=routes,
        errors=errors,
        tls=tls,
        origins=host.origins,
    )
