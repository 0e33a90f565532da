"""Redirects: routes that answer with another address (`permanent-redirect` and the like).

In: the annotations of an Ingress. Out: `Redirect`, or none; the application's root. Source: ingress-nginx,
annotations/redirect/redirect.go: a temporal one goes before a permanent one.
"""

from __future__ import annotations

import re

from zeroserve_ir.model import Redirect

from zeroserve_operator.annotations.values import Annotations
from zeroserve_operator.annotations.variables import UnknownVariableError, escape, expand

_URL = re.compile(r"https?://[-A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%]+", re.IGNORECASE)
_ROOT = re.compile(r"/[-A-Za-z0-9._~:/?#@!&'()*+,;=%]*")
FOUND, MOVED = 302, 301
MOVED_HOST = 308
"""ingress-nginx: http-redirect-code."""


def read_redirect(annotations: Annotations) -> Redirect | None:
    """Read where all requests of the Ingress are sent; a wrong address leaves them to the Service."""
    for kind, default, last in (("temporal", FOUND, 399), ("permanent", MOVED, 308)):
        name = f"{kind}-redirect"
        if not annotations.text(name):
            continue
        location = read_url(annotations, name)
        code = annotations.number(f"{name}-code")
        if location:
            return Redirect(code if 300 <= code <= last else default, location)
    return None


def read_url(annotations: Annotations, name: str) -> str:
    """Return a URL with nginx's variables as text of the tree; "" for a wrong one, which is told."""
    text = annotations.text(name)
    if not _URL.fullmatch(text):
        annotations.warn(name, f"is `{text}`, no URL that begins with http:// or https://; it has no effect")
        return ""
    try:
        return expand(text)
    except UnknownVariableError as error:
        annotations.warn(name, f"holds {error}, which is not known here; it has no effect")
        return ""


def read_root(annotations: Annotations) -> str:
    """Read `app-root`: where requests for `/` are sent (rewrite/main.go)."""
    text = annotations.matching("app-root", _ROOT, "")
    return escape(text)


def move_host(host: str) -> Redirect:
    """Return the redirect to the same address under another host (`from-to-www-redirect`)."""
    return Redirect(MOVED_HOST, f"{{http.request.scheme}}://{escape(host)}{{http.request.orig_uri}}")
