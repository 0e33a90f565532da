"""Rendering: a Service that is asked whether a request may go on.

In: `model.ExternalAuth` of a route. Out: the expanded form of `forward_auth`: a proxy that goes on after 2xx,
and passes on 401 and 403. Source: ingress-nginx, template nginx.tmpl (`location = authPath`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from zeroserve_ir import tree
from zeroserve_ir.caddyfile.meaning.proxying import copying_routes
from zeroserve_ir.model import ExternalAuth

from zeroserve_operator.rendering_header_edits import ADDED_STATUSES
from zeroserve_operator.rendering_service_tls import render_service_tls

_COOKIE: Final = "{http.reverse_proxy.header.Set-Cookie}"
_GIVEN: Final = (tree.MatchNot(((tree.MatchVars(((_COOKIE, ("",)),)),),)),)
_KEPT: Final = "external_auth_cookie"
_FIELDS: Final = (
    ("X-Forwarded-Method", "{http.request.method}"),
    ("X-Forwarded-Uri", "{http.request.orig_uri}"),
    ("X-Original-Method", "{http.request.method}"),
    ("X-Original-Uri", "{http.request.orig_uri}"),
    ("X-Original-Url", "{http.request.scheme}://{http.request.hostport}{http.request.orig_uri}"),
    ("X-Real-Ip", "{http.vars.client_ip}"),
    ("X-Sent-From", "nginx-ingress-controller"),
)


def render_external_auth(
    auth: ExternalAuth, upstream: tree.Upstream, transport: tree.HttpTransport, *, paged: Sequence[int] = ()
) -> tree.ReverseProxy:
    """Return the proxy that asks; it answers, or lets what follows it go on.

    Refusals whose statuses are `paged` are errors of the route, for its error pages.
    """
    check = auth.check
    told = (("Host", check.host), *_FIELDS, ("X-Auth-Request-Redirect", check.told))
    copied = {name: name for name in check.copied}
    handlers = [
        tree.ResponseHandler(
            tree.ResponseMatch((2,)), routes=(*copying_routes(copied), *_keep_cookie(check.keeps_cookie))
        )
    ]
    if check.signin:
        handlers.append(tree.ResponseHandler(tree.ResponseMatch((401,)), routes=_sign_in(check.signin)))
    refusals: dict[tree.Handler, list[int]] = {}
    for status in (401, 403):
        refused: tree.Handler = tree.RaiseError(str(status)) if status in paged else tree.CopyResponse()
        refusals.setdefault(refused, []).append(status)
    for handler, statuses in refusals.items():
        match = tree.ResponseMatch(tuple(statuses))
        handlers.append(tree.ResponseHandler(match, routes=(tree.Route((handler,)),)))
    handlers.append(tree.ResponseHandler(routes=(tree.Route((tree.RaiseError("500"),)),)))
    return tree.ReverseProxy(
        upstreams=(upstream,),
        selection=tree.SelectionPolicy(tree.Selection.ROUND_ROBIN),
        transport=replace(transport, tls=render_service_tls(auth.tls) if auth.secure else None, versions=()),
        request_headers=tree.HeaderOperations(set=told),
        rewrite=tree.Rewrite(method=check.method, uri=check.uri),
        response_handlers=tuple(handlers),
    )


def forget_fields(auth: ExternalAuth) -> tree.Handler:
    """Return what drops the client's own fields of those that only an answer may set."""
    return tree.Headers(request=tree.HeaderOperations(delete=auth.check.copied))


def _keep_cookie(always: bool) -> Iterator[tree.Route]:
    """Set the answer's cookie for the client; what follows has answers of its own."""
    require = None if always else tree.ResponseMatch(ADDED_STATUSES)
    operations = tree.HeaderOperations(add=(("Set-Cookie", f"{{http.vars.{_KEPT}}}"),))
    yield tree.Route((tree.SetVariables(((_KEPT, _COOKIE),)),), matchers=(_GIVEN,))
    yield tree.Route((tree.Headers(response=operations, deferred=True, require=require),), matchers=(_GIVEN,))


def _sign_in(location: str) -> tuple[tree.Route, ...]:
    cookie = tree.Headers(response=tree.HeaderOperations(add=(("Set-Cookie", _COOKIE),)))
    moved = tree.StaticResponse(status="302", headers=(("Location", location),))
    return (tree.Route((cookie,), matchers=(_GIVEN,)), tree.Route((moved,)))
