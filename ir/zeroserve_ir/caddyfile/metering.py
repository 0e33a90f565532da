"""`metrics`: the handler as a proxy to this machine's own metrics page.

In: a configuration as it was read, and where `run` serves the page. Out: the same with each `metrics`
handler as a `reverse_proxy` of its own. Whatever the path and query, `/metrics` is asked.
"""

from __future__ import annotations

from dataclasses import replace

from zeroserve_ir.tree import (
    Configuration,
    Handler,
    HeaderOperations,
    ReverseProxy,
    Rewrite,
    Route,
    Subroute,
)
from zeroserve_ir.tree_carried import CarriedHandler
from zeroserve_ir.tree_upstreams import Upstream

_PLAIN_FORMAT = HeaderOperations(set=(("Accept", "text/plain"),))
"""What `disable_openmetrics` asks for, whatever the client accepts."""


def shows_metrics(configuration: Configuration) -> bool:
    """Whether any route has the handler `metrics`."""
    sites = (routes for site in configuration.sites for routes in (site.routes, site.errors))
    return any(map(_shows, (*sites, *(named.routes for named in configuration.named_routes))))


def _shows(routes: tuple[Route, ...]) -> bool:
    for route in routes:
        for handler in route.handlers:
            if isinstance(handler, CarriedHandler) and handler.module == "metrics":
                return True
            if isinstance(handler, Subroute) and (_shows(handler.routes) or _shows(handler.errors)):
                return True
    return False


def proxy_metrics(configuration: Configuration, page: str) -> Configuration:
    """Return the configuration with `metrics` answered by the page at an address to dial."""
    return replace(
        configuration,
        sites=tuple(
            replace(site, routes=_proxy(site.routes, page), errors=_proxy(site.errors, page))
            for site in configuration.sites
        ),
        named_routes=tuple(
            replace(named, routes=_proxy(named.routes, page)) for named in configuration.named_routes
        ),
    )


def _proxy(routes: tuple[Route, ...], page: str) -> tuple[Route, ...]:
    return tuple(
        replace(route, handlers=tuple(_proxy_handler(handler, page) for handler in route.handlers))
        for route in routes
    )


def _proxy_handler(handler: Handler, page: str) -> Handler:
    match handler:
        case Subroute(routes, errors):
            return Subroute(_proxy(routes, page), _proxy(errors, page))
        case CarriedHandler("metrics", settings):
            plain = bool(settings.value().get("disable_openmetrics"))
            return ReverseProxy(
                (Upstream(page),),
                rewrite=Rewrite(method="GET", uri="/metrics"),
                request_headers=_PLAIN_FORMAT if plain else HeaderOperations(),
            )
        case _:
            return handler
