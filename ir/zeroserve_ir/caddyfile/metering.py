"""`metrics`: the handler as a proxy to this machine's own metrics page.

In: a configuration as it was read, and where `run --metrics-port` serves the page. Out: the same with each
`metrics` handler as a `reverse_proxy` of its own. Called before a configuration is judged: where nothing
serves the page, the handler stays and is refused. Whatever the path and query, `/metrics` is asked.
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


def proxy_metrics(configuration: Configuration, port: int) -> Configuration:
    """Return the configuration with `metrics` answered by the page on a port of this machine."""
    return replace(
        configuration,
        sites=tuple(
            replace(site, routes=_proxy(site.routes, port), errors=_proxy(site.errors, port))
            for site in configuration.sites
        ),
        named_routes=tuple(
            replace(named, routes=_proxy(named.routes, port)) for named in configuration.named_routes
        ),
    )


def _proxy(routes: tuple[Route, ...], port: int) -> tuple[Route, ...]:
    return tuple(
        replace(route, handlers=tuple(_proxy_handler(handler, port) for handler in route.handlers))
        for route in routes
    )


def _proxy_handler(handler: Handler, port: int) -> Handler:
    match handler:
        case Subroute(routes, errors):
            return Subroute(_proxy(routes, port), _proxy(errors, port))
        case CarriedHandler("metrics", settings):
            plain = bool(settings.value().get("disable_openmetrics"))
            return ReverseProxy(
                (Upstream(f"127.0.0.1:{port}"),),
                rewrite=Rewrite(method="GET", uri="/metrics"),
                request_headers=_PLAIN_FORMAT if plain else HeaderOperations(),
            )
        case _:
            return handler
