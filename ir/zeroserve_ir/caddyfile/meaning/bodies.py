"""The text of a Kubernetes object: a site's body under the `tenant` profile.

In: directives without an address, the object's hosts and namespace. Out: the site's routes and error
routes, with every finding pointing into the object's field. Called by the operator's build.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zeroserve_ir.caddyfile.meaning.directives import build_routes, read_directive, read_error_block
from zeroserve_ir.caddyfile.meaning.mapping import find_destinations
from zeroserve_ir.caddyfile.meaning.matchers import define_matcher
from zeroserve_ir.caddyfile.meaning.ordering import DIRECTIVE_ORDER, Placed, stable_sort
from zeroserve_ir.caddyfile.meaning.profiles import check_placeholders
from zeroserve_ir.caddyfile.meaning.reading import Profile, Reading, Scope, Tenancy
from zeroserve_ir.caddyfile.meaning.shorthands import expand_segment
from zeroserve_ir.caddyfile.parser import parse_site_body
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.sources import Origin
from zeroserve_ir.tree import Route, ServiceReference

SiteBody = tuple[tuple[Route, ...], tuple[Route, ...], tuple[Diagnostic, ...]]


def read_site_body(
    text: str,
    *,
    hosts: Sequence[str],
    namespace: str,
    origin: Origin,
    allow_reference: Callable[[ServiceReference], bool] = lambda _: False,
) -> SiteBody:
    """Return (routes, error routes, findings); with an error among the findings the routes are not whole.

    `hosts` are the names that `host` matchers may use; `allow_reference` decides on Services of other
    namespaces. `origin` names the object and the field that holds the text.
    """
    segments, diagnostics = parse_site_body(text, origin)
    tenancy = Tenancy(namespace, tuple(host.lower() for host in hosts), allow_reference)
    reading = Reading(Profile.TENANT, list(DIRECTIVE_ORDER), tenancy, diagnostics)
    scope = Scope(reading)
    placed, errors = read_body([expand_segment(segment) for segment in segments], scope)
    routes = build_routes(placed, reading, sort=True)
    return routes, errors, tuple(reading.diagnostics)


def read_body(segments: Sequence[Segment], scope: Scope) -> tuple[list[Placed], tuple[Route, ...]]:
    """Read what bodies of objects and of site blocks share: matchers, handlers, error blocks."""
    reading = scope.reading
    reading.defined |= find_destinations(segments)
    for segment in segments:
        check_placeholders(reading, segment)
        if segment.name.text.startswith("@"):
            with reading.collect():
                define_matcher(segment, scope)
    plain: list[Placed] = []
    errors: list[Route] = []
    for segment in segments:
        with reading.collect():
            if segment.name.text == "handle_errors":
                errors.append(read_error_block(segment, scope))
            elif not segment.name.text.startswith("@"):
                plain += read_directive(segment, scope)
    # Caddy's comparison: those for all errors after those with statuses, and of equal ones never "equal".
    return plain, tuple(stable_sort(errors, lambda one, other: bool(one.matchers) or not other.matchers))
