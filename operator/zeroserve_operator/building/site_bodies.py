"""Site bodies: the Caddyfile of a ZeroserveRoute, read under the tenant profile.

In: a ZeroserveRoute. Out: `SiteBody`: routes of the tree, the Services that they name, diagnostics whose
lines are those of `spec.caddyfile`. Upstreams of other namespaces are refused (ReferenceGrant comes later).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from zeroserve_ir import tree
from zeroserve_ir.caddyfile.meaning.bodies import read_site_body
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.sources import Origin

from zeroserve_operator.resources.routes import ZeroserveRoute

CACHED_BODIES_MAX = 4096
"""A body is read once for all hosts of its object."""


@dataclass(frozen=True, slots=True)
class SiteBody:
    """What a ZeroserveRoute serves."""

    routes: tuple[tree.Route, ...]
    errors: tuple[tree.Route, ...]
    users: tuple[tuple[tree.ServiceReference, Origin], ...]
    diagnostics: tuple[Diagnostic, ...]

    @property
    def sound(self) -> bool:
        """Whether it may be served: a body with an error could have lost its access control."""
        return all(item.severity is not Severity.ERROR for item in self.diagnostics)


def read_body(route: ZeroserveRoute) -> SiteBody:
    """Read the Caddyfile of a ZeroserveRoute."""
    key = route.meta.key
    return _read(route.caddyfile, route.hosts, key.namespace, key.origin.at("spec.caddyfile"))


@lru_cache(CACHED_BODIES_MAX)
def _read(text: str, hosts: tuple[str, ...], namespace: str, origin: Origin) -> SiteBody:
    routes, errors, diagnostics = read_site_body(
        text,
        hosts=hosts,
        namespace=namespace,
        origin=origin,
        allow_reference=lambda service: service.namespace == namespace,
    )
    users = tuple((service, origin) for service in sorted(set(find_services([*routes, *errors])), key=str))
    return SiteBody(tuple(routes), tuple(errors), users, tuple(diagnostics))


def find_services(routes: Iterable[tree.Route]) -> Iterator[tree.ServiceReference]:
    """Yield the Services that routes proxy to."""
    for route in routes:
        for handler in route.handlers:
            if isinstance(handler, tree.Subroute):
                yield from find_services([*handler.routes, *handler.errors])
            elif isinstance(handler, tree.ReverseProxy):
                mirrored = tuple(mirror.upstream for mirror in handler.resilience.mirrors)
                asked = (*handler.upstreams, *mirrored)
                yield from (item.service for item in asked if item.service is not None)
