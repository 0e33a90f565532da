"""`invoke` written out: named routes put where they are invoked.

In: a configuration as it was read. Out: the same without `Invoke`; called before sites are lowered. A route
that invokes itself, through others too, ends there: such a chain answers 500 in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from zeroserve_ir.tree import Configuration, Handler, Invoke, RaiseError, Route, Subroute


def expand_named_routes(configuration: Configuration) -> Configuration:
    """Return the configuration with every `invoke` replaced by its route."""
    if not configuration.named_routes:
        return configuration
    named = {one.name: one.routes for one in configuration.named_routes}
    sites = tuple(
        replace(site, routes=_expand(site.routes, named, ()), errors=_expand(site.errors, named, ()))
        for site in configuration.sites
    )
    return replace(configuration, sites=sites, named_routes=())


def _expand(
    routes: Sequence[Route], named: Mapping[str, tuple[Route, ...]], chain: tuple[str, ...]
) -> tuple[Route, ...]:
    return tuple(
        replace(route, handlers=tuple(_expand_handler(handler, named, chain) for handler in route.handlers))
        for route in routes
    )


def _expand_handler(
    handler: Handler, named: Mapping[str, tuple[Route, ...]], chain: tuple[str, ...]
) -> Handler:
    match handler:
        case Subroute(inner, errors):
            return Subroute(_expand(inner, named, chain), _expand(errors, named, chain))
        case Invoke(name) if name in chain or name not in named:
            return RaiseError("500", f"named route {name} cannot be invoked here")
        case Invoke(name):
            return Subroute(_expand(named[name], named, (*chain, name)))
        case _:
            return handler
