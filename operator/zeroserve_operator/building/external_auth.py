"""External authentication: the Service that is asked.

In: what an Ingress asks for, and the routes of its namespace on a host. Out: `ExternalAuth`, or the denial of
the route. Rule: a path of the host itself stands for its Service, which is asked at once; a path that is
guarded, rewritten or redirected is none that can be asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.model import (
    BackendProtocol,
    Denial,
    ExternalAuth,
    PathKind,
    PathRoute,
    PathRule,
    ServiceTls,
)
from zeroserve_ir.sources import Origin

from zeroserve_operator.annotations.external_auth import ExternalAuthRequest
from zeroserve_operator.annotations.names import PREFIX
from zeroserve_operator.building.paths import normalise

_META = frozenset("\\+*?()|[]{}^$")
_HTTP = (BackendProtocol.HTTP, BackendProtocol.HTTPS)


def make_external_auth(request: ExternalAuthRequest, tls: ServiceTls | None) -> ExternalAuth | None:
    """Return who is asked, by the TLS of the route; None where that is a path of the host."""
    return ExternalAuth(request.check, request.service, request.secure, tls) if request.service else None


def resolve_external_auth(
    host: str, route: PathRoute, request: ExternalAuthRequest, routes: Iterable[PathRoute], origin: Origin
) -> tuple[PathRoute, Diagnostic | None]:
    """Let a route ask the first of `routes`, those of its own host, that covers the path, or close it."""
    path = normalise(request.path)
    found = next((other for other in routes if _covers(other.rule, path)), None)
    meant = request.host in ("", host)
    if not meant or found is None or found.backend is None or _is_special(found):
        problem = "which no path of its namespace on this host covers"
        cure = f"serve {request.path} by an Ingress of its own, without these annotations"
        if not meant:
            problem = f"which on {host or 'any host'} is that of another host"
            cure = f"write https://$host{request.path}, or an Ingress for each host"
        elif found is not None:
            problem = "whose path is guarded, rewritten or redirected itself"
        message = f"{PREFIX}auth-url leads to {request.host}{request.path}, {problem}: its routes answer 503"
        place = origin.at(f"metadata.annotations[{PREFIX}auth-url]")
        denial = Denial(f"{Code.ZS0404.name}: {message}")
        return replace(route, denial=denial, external_pending=False), Diagnostic(
            Code.ZS0404, message, origin=place, help=cure
        )
    asked = ExternalAuth(request.check, found.backend, found.protocol.secure, found.service_tls)
    return replace(route, external=asked, external_pending=False), None


def _is_special(route: PathRoute) -> bool:
    asked = route.external or route.external_pending
    guarded = route.denial or route.allowed or route.denied or route.passwords or asked or route.client
    changed = route.moved or route.rewrite is not None or route.plugins or route.protocol not in _HTTP
    return bool(guarded or changed)


def _covers(rule: PathRule, path: str) -> bool:
    """Tell whether a rule covers a normalised path; an expression, by the text that it is alone."""
    match rule.kind:
        case PathKind.EXACT:
            return path == rule.path
        case PathKind.PREFIX:
            return rule.path in ("/", path) or path.startswith(f"{rule.path}/")
        case PathKind.TEXT_PREFIX:
            return path.startswith(rule.path)
    return not _META.intersection(rule.path) and path.lower().startswith(rule.path.lower())
