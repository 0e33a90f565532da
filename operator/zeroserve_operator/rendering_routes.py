"""Rendering: one route of the model to handlers of the tree.

In: `model.PathRoute`. Out: handlers. Called by `rendering`. Rule: strings of users never meet text; a value
that may hold placeholders is one that was checked for braces. The order of what happens before a Service is
ingress-nginx's: application root, CORS, redirect, limits, source ranges, password, external authentication,
body limit, rewrite.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from zeroserve_ir import tree
from zeroserve_ir.model import (
    CanaryRule,
    CrossOrigin,
    ExternalAuth,
    PathKind,
    PathRoute,
    PathRule,
    TrafficLimits,
)
from zeroserve_ir.tree import ServiceReference
from zeroserve_ir.tree_traffic import LimitBandwidth, LimitConcurrency

from zeroserve_operator.annotations.variables import escape
from zeroserve_operator.rendering_clients import render_check
from zeroserve_operator.rendering_errors import (
    BARE_ERROR,
    intercept_errors,
    mark_forwarded,
    render_error_pages,
)
from zeroserve_operator.rendering_external_auth import forget_fields, render_external_auth
from zeroserve_operator.rendering_header_edits import edit_answers, edit_proxied, edit_requests
from zeroserve_operator.rendering_service_tls import render_service_tls

_PREFLIGHT_TYPE = ("Content-Type", "text/plain charset=UTF-8")
_TEXT = (("Content-Type", "text/plain; charset=utf-8"),)
_CLIENT: Final = "{http.vars.client_ip}"
_HEX_DIGITS: Final = "0123456789abcdef"


def render_handlers(route: PathRoute) -> tuple[tree.Handler, ...]:
    """Render what a route does with a request."""
    unserved = route.backend is None and route.moved is None
    if route.denial is not None or route.external_pending or unserved:
        reason = route.denial.reason if route.denial else "ZS0301: the backend is malformed"
        return (_refuse(reason),)
    steps = [tree.Route((plugin,)) for plugin in route.plugins]
    if not route.logged:
        steps.append(tree.Route((tree.SetVariables((("log_skip", "true"),), ("log_skip",)),)))
    if route.root:
        location = f"{{http.request.scheme}}://{{http.request.hostport}}{route.root}"
        steps.append(tree.Route((_redirect(302, location),), matchers=((tree.MatchPathExact("/"),),)))
    if route.header_edits is not None:
        steps += edit_answers(route.header_edits)
    if route.cross_origin is not None:
        steps += _render_cross_origin(route.cross_origin)
    if route.moved is not None:
        handlers: tuple[tree.Handler, ...] = (_redirect(route.moved.status, route.moved.location),)
        return handlers if not steps else (tree.Subroute((*steps, tree.Route(handlers))),)
    if route.client is not None:
        steps += render_check(route.client)
    if route.limits is not None:
        steps += _render_limits(route.limits)
    steps += _render_restrictions(route)
    filters: list[tree.Handler] = []
    if route.passwords is not None and not (route.any_suffices and route.allowed):
        filters.append(tree.BasicAuth(route.passwords.accounts, route.passwords.realm))
    if route.external is not None and not (route.any_suffices and route.allowed):
        filters.append(_ask(route, route.external))
    if route.body_bytes_max is not None:
        filters.append(tree.RequestBody(route.body_bytes_max))
    if route.rewrite is not None:
        filters.append(_render_rewrite(route.rule, route.rewrite))
    if route.header_edits is not None and (edits := tuple(edit_requests(route.header_edits))):
        filters.append(tree.Subroute(edits))
    if route.error_pages is not None:
        filters.append(mark_forwarded())
    filters.append(_render_choice(route))
    if not steps:
        return tuple(filters)
    return (tree.Subroute((*steps, *(tree.Route((handler,)) for handler in filters))),)


def render_errors(route: PathRoute) -> tree.Handler | None:
    """Render what answers a route's errors; None where only their statuses do."""
    if route.backend is None or route.denial is not None or route.moved is not None:
        return None
    answer: tree.Handler | None = None
    if route.error_pages is not None:
        transport = replace(_render_transport(route), tls=None, versions=())
        service = make_upstream(route.error_pages.service)
        answer = render_error_pages(route.error_pages, route.backend, service, transport)
    edits = tuple(edit_answers(route.header_edits, errors=True)) if route.header_edits else ()
    return tree.Subroute((*edits, tree.Route((answer or BARE_ERROR,)))) if edits else answer


def _render_restrictions(route: PathRoute) -> Iterator[tree.Route]:
    """Keep clients out by their addresses, or by password where either suffices (nginx: satisfy)."""
    refuse: tree.Handler = tree.RaiseError("403")
    if route.denied:
        yield tree.Route((refuse,), matchers=((tree.MatchClientIp(route.denied),),))
    outside: list[tree.MatcherSet] = [
        (tree.MatchNot(((tree.MatchClientIp(ranges),),)),) for ranges in route.allowed
    ]
    if route.passwords is not None and route.any_suffices and outside:
        check = tree.BasicAuth(route.passwords.accounts, route.passwords.realm)
        yield tree.Route((check,), matchers=tuple(outside))
        return
    if route.external is not None and route.any_suffices and outside:
        inside = tuple(tree.MatchClientIp(ranges) for ranges in route.allowed)
        yield tree.Route((forget_fields(route.external),), matchers=(inside,))
        yield tree.Route((_ask(route, route.external),), matchers=tuple(outside))
        return
    for matchers in outside:
        yield tree.Route((refuse,), matchers=(matchers,))


def _ask(route: PathRoute, auth: ExternalAuth) -> tree.ReverseProxy:
    return render_external_auth(
        auth,
        make_upstream(auth.service),
        _render_transport(route),
        paged=route.error_pages.statuses if route.error_pages else (),
    )


def _render_limits(limits: TrafficLimits) -> Iterator[tree.Route]:
    """Refuse what a client asks for too often, or at once, and slow answers down (limit_req, limit_conn)."""
    exempt: tree.MatcherSet = (
        (tree.MatchNot(((tree.MatchClientIp(limits.exempt),),)),) if limits.exempt else ()
    )
    matchers = (exempt,) if exempt else ()
    rates = (("rps", limits.per_second, 1000), ("rpm", limits.per_minute, 60_000))
    zones = tuple(
        # `burst=N nodelay` lets N requests go ahead of the rate, besides the one that is due.
        tree.RateZone(f"{limits.owner}/{name}", _CLIENT, events, window, events * limits.burst_factor + 1)
        for name, events, window in rates
        if events
    )
    if zones:
        yield tree.Route((tree.LimitRate(zones),), matchers=matchers)
    if limits.connections:
        yield tree.Route((LimitConcurrency(limits.connections, _CLIENT),), matchers=matchers)
    if limits.bytes_per_second:
        yield tree.Route((LimitBandwidth(limits.bytes_per_second, limits.free_bytes),))


def _redirect(status: int, location: str) -> tree.StaticResponse:
    return tree.StaticResponse(status=str(status), headers=(("Location", location),))


def _refuse(reason: str) -> tree.StaticResponse:
    """Answer 503 and say why; braces are escaped, as the reason may quote what a user wrote."""
    return tree.StaticResponse(status="503", body=escape(reason) + "\n", headers=_TEXT)


def _render_rewrite(rule: PathRule, target: str) -> tree.Rewrite:
    """Replace the whole path, as nginx's `rewrite` does: what precedes and follows the match goes too."""
    if rule.kind is not PathKind.REGEXP:
        return tree.Rewrite(uri=target)
    find = f"(?i)^(?s:.*?)(?:{rule.path})(?s:.*)$"
    # Braces keep the number apart from letters that follow it; escaped, as Caddy expands placeholders first.
    return tree.Rewrite(path_regexp=((find, re.sub(r"\$([1-9])", r"$\\{\1\\}", target)),))


def _render_choice(route: PathRoute) -> tree.Handler:
    """Ask the Service, or for some requests its canary: header, cookie, weight (balancer.lua)."""
    assert route.backend is not None
    if route.canary is None:
        return _render_proxy(route, route.backend)
    asked = _match_canary(route.canary.rule)
    routes = [tree.Route((_render_proxy(route, route.backend),))]
    if asked:
        other = _render_proxy(route, route.canary.backend)
        if other.selection is not None and other.selection.selection is tree.Selection.COOKIE:
            # Of its own: a client that comes back to the main Service finds its endpoint again.
            other = replace(other, selection=replace(other.selection, key=f"{other.selection.key}_canary"))
        routes.insert(0, tree.Route((other,), matchers=asked))
    return tree.Subroute(tuple(routes))


def _match_canary(rule: CanaryRule) -> tuple[tree.MatcherSet, ...]:
    sets: list[tree.MatcherSet] = []
    kept: tuple[tree.Matcher, ...] = ()
    if rule.header:
        own = f"^{re.escape(rule.header_value)}$" if rule.header_value else rule.header_pattern
        sets.append((tree.MatchHeaderRegexp(rule.header, own or "^always$"),))
        if not own:
            kept = (tree.MatchNot(((tree.MatchHeaderRegexp(rule.header, "^never$"),),)),)
    if rule.cookie:
        variable = f"{{http.request.cookie.{rule.cookie}}}"
        sets.append((*kept, tree.MatchVars(((variable, ("always",)),))))
        kept = (*kept, tree.MatchNot(((tree.MatchVars(((variable, ("never",)),)),),)))
    if rule.weight >= rule.weight_total:
        sets.append(kept)
    elif rule.weight:
        pattern = match_share(rule.weight, rule.weight_total)
        sets.append((*kept, tree.MatchVarsRegexp("{http.request.uuid}", pattern)))
    return tuple(sets)


def match_share(part: int, total: int) -> str:
    """Return a pattern for `part` of `total` random UUIDs, whose first four digits are below a number."""
    digits = f"{max(part * 0x10000 // total, 1):04x}"
    below = [
        f"{digits[:at]}[{_HEX_DIGITS[: int(digit, 16)]}]" for at, digit in enumerate(digits) if digit != "0"
    ]
    return f"^(?:{'|'.join(below)})"


def make_upstream(service: ServiceReference) -> tree.Upstream:
    """Return a Service as an upstream.

    A Caddyfile takes port numbers alone; what is dialled is the reference, which keeps a port's name.
    """
    port = service.port if service.port.isdecimal() else "80"
    return tree.Upstream(f"{service.name}.{service.namespace}.svc:{port}", service)


def _render_proxy(route: PathRoute, service: ServiceReference) -> tree.ReverseProxy:
    forwarding = route.forwarding
    mirrors = (tree.Mirror(make_upstream(forwarding.mirror)),) if forwarding.mirror else ()
    fields = {"Host": forwarding.host, "X-Forwarded-Prefix": forwarding.prefix if route.rewrite else ""}
    told = tree.HeaderOperations(
        set=tuple(item for item in fields.items() if item[1]),
        delete=("Authorization",) if _hides_password(route) else (),
    )
    proxy = tree.ReverseProxy(
        upstreams=(make_upstream(service),),
        selection=forwarding.selection,
        transport=_render_transport(route),
        request_headers=told,
        retries=forwarding.retries,
        try_duration_ms=forwarding.try_duration_ms,
        retry_match=forwarding.retry_match,
        resilience=tree.Resilience(mirrors=mirrors) if mirrors else tree.NO_RESILIENCE,
        response_handlers=intercept_errors(route.error_pages) if route.error_pages else (),
    )
    return edit_proxied(route.header_edits, proxy) if route.header_edits is not None else proxy


def _hides_password(route: PathRoute) -> bool:
    """Whether the password that was checked is not the Service's to see (template nginx.tmpl, auth_basic)."""
    sent = route.header_edits.sent if route.header_edits else ()
    return route.passwords is not None and not any(one.name.lower() == "authorization" for one in sent)


def _render_transport(route: PathRoute) -> tree.HttpTransport:
    return tree.HttpTransport(
        tls=render_service_tls(route.service_tls) if route.protocol.secure else None,
        versions=route.protocol.versions,
        dial_timeout_ms=route.timeouts.connect_ms,
        response_header_timeout_ms=route.timeouts.read_ms,
        read_timeout_ms=route.timeouts.read_ms,
        write_timeout_ms=route.timeouts.send_ms,
    )


def _render_cross_origin(cors: CrossOrigin) -> list[tree.Route]:
    """Answer preflights with 204 and mark other answers (template nginx.tmpl, CORS)."""
    if not cors.origins:
        return []
    everyone = cors.origins == ("*",)
    headers = [("Access-Control-Allow-Origin", "*" if everyone else "{http.request.header.Origin}")]
    if cors.credentials:
        headers.append(("Access-Control-Allow-Credentials", "true"))
    headers += [
        ("Access-Control-Allow-Methods", cors.methods),
        ("Access-Control-Allow-Headers", cors.headers),
    ]
    if cors.expose:
        headers.append(("Access-Control-Expose-Headers", cors.expose))
    headers.append(("Access-Control-Max-Age", str(cors.age_max_s)))
    allowed: tree.MatcherSet = ()
    if not everyone:
        allowed = (tree.MatchHeaderRegexp("Origin", _origins_pattern(cors.origins)),)
    preflight = tree.StaticResponse(status="204", headers=(*headers, _PREFLIGHT_TYPE))
    marks = tree.Headers(response=tree.HeaderOperations(set=tuple(headers)), deferred=True)
    return [
        tree.Route((preflight,), matchers=((*allowed, tree.MatchMethod(("OPTIONS",))),)),
        tree.Route((marks,), matchers=(allowed,) if allowed else ()),
    ]


def _origins_pattern(origins: tuple[str, ...]) -> str:
    """template.go, buildOriginRegex; anchored at both ends."""
    choices = (re.escape(origin).replace(r"\*", "[A-Za-z0-9-]+") for origin in origins)
    return f"(?i)^(?:{'|'.join(choices)})$"
