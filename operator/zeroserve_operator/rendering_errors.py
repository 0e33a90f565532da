"""Rendering: a Service that answers in place of errors.

In: `model.ErrorPages` of routes. Out: what a route does so that its errors are told from others, and the
error routes of the site. Rule: what access control refused is never asked for again; the page is a request
of its own. Source: ingress-nginx, template nginx.tmpl (`CUSTOM_ERRORS`, `custom-default-backend-`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from zeroserve_ir import tree
from zeroserve_ir.model import ErrorPages
from zeroserve_ir.tree import ServiceReference

from zeroserve_operator.annotations.variables import escape

_FORWARDED: Final = "forwarded_to_service"
"""A variable: nothing stands between the request and its Service any more."""
_NO_ENDPOINT: Final = "no upstreams available"
_STATUS: Final = "{http.error.status_code}"
BARE_ERROR: Final = tree.StaticResponse(status=_STATUS)
"""What answers an error that no page stands for."""


def mark_forwarded() -> tree.Handler:
    """Return what precedes the Service: an error from there on is its own."""
    return tree.SetVariables(((_FORWARDED, "true"),), (_FORWARDED,))


def intercept_errors(pages: ErrorPages) -> tuple[tree.ResponseHandler, ...]:
    """Return what turns answers of the Service into errors (`proxy_intercept_errors`)."""
    if not pages.statuses or not pages.intercepts:
        return ()
    raised = tree.Route((tree.RaiseError("{http.reverse_proxy.status_code}"),))
    return (tree.ResponseHandler(tree.ResponseMatch(pages.statuses), routes=(raised,)),)


def render_error_pages(
    pages: ErrorPages, backend: ServiceReference, upstream: tree.Upstream, transport: tree.HttpTransport
) -> tree.Handler:
    """Return what answers the errors of a route whose Service is `backend`."""
    told = {
        "X-Code": _STATUS,
        "X-Format": "{http.request.header.Accept}",
        "X-Original-URI": "{http.request.orig_uri}",
        "X-Namespace": escape(backend.namespace),
        "X-Ingress-Name": escape(pages.owner),
        "X-Service-Name": escape(backend.name),
        "X-Service-Port": escape(backend.port),
    }
    whole = tree.ReverseProxy(
        upstreams=(upstream,),
        selection=tree.SelectionPolicy(tree.Selection.ROUND_ROBIN),
        transport=transport,
        request_headers=tree.HeaderOperations(set=tuple(told.items())),
    )
    # Whoever was to be asked before may have no endpoint either: such a request is nobody's.
    untaken = (
        tree.MatchVars((("{http.error.message}", (_NO_ENDPOINT,)),)),
        tree.MatchVars(((_FORWARDED, ("true",)),)),
    )
    routes = [tree.Route((whole,), matchers=(untaken,))]
    if pages.statuses:
        # A body may have been read, by a Service that does not answer again.
        page = replace(whole, rewrite=tree.Rewrite(method="GET", uri="/"))
        listed = tree.MatchVars(((_STATUS, tuple(map(str, pages.statuses))),))
        routes.append(tree.Route((page,), matchers=((listed,),)))
    return tree.Subroute((*routes, tree.Route((BARE_ERROR,))))
