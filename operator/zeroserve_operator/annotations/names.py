"""Names of annotations: which are honoured, and which restrict access.

In: keys of `metadata.annotations`. Out: what they are called without their prefix, and their class.
"""

from __future__ import annotations

import difflib
import re
from enum import Enum

PREFIX = "nginx.ingress.kubernetes.io/"
OLD_PREFIX = "ingress.kubernetes.io/"
"""ingress-nginx before 0.9; honoured by nothing, but what restricted access there still does."""

SUPPORTED = (
    "allowlist-source-range",
    "auth-realm",
    "auth-secret",
    "auth-secret-type",
    "auth-type",
    "backend-protocol",
    "cors-allow-credentials",
    "cors-allow-headers",
    "cors-allow-methods",
    "cors-allow-origin",
    "cors-expose-headers",
    "cors-max-age",
    "enable-cors",
    "force-ssl-redirect",
    "proxy-body-size",
    "proxy-connect-timeout",
    "proxy-read-timeout",
    "proxy-send-timeout",
    "rewrite-target",
    "ssl-passthrough",
    "ssl-redirect",
    "use-regex",
    "whitelist-source-range",
)
_SUPPORTED = frozenset(SUPPORTED)

_TRAFFIC = re.compile(r"^(global-)?(rate-)?limit-|^rate-limit")
"""Limits traffic, not access; `limit-whitelist` exempts from it."""
_RESTRICTING = re.compile(
    r"^auth-|^enable-global-auth$|allow|deny|whitelist|blacklist|^satisfy$|modsecurity|owasp|-waf|-snippets?$"
)
_OFF = frozenset({"", "false", "off", "0", "f", "no"})
_SWITCHES = re.compile(r"^enable-|^auth-always-set-cookie$|^lua-resty-waf$")


class Effect(Enum):
    """What becomes of an annotation."""

    HONOURED = "honoured"
    UNSUPPORTED = "not supported"
    UNSUPPORTED_RESTRICTION = "restricts access and is not supported"


def classify(name: str, value: str) -> Effect:
    """Tell what becomes of an annotation, by its name without the prefix and its value."""
    if name in _SUPPORTED:
        return Effect.HONOURED
    if name == "satisfy" and value.strip() == "all":
        return Effect.HONOURED
    if _TRAFFIC.search(name) or not _RESTRICTING.search(name):
        return Effect.UNSUPPORTED
    # An empty value, or a switch that is off, restricts nothing in ingress-nginx either.
    text = value.strip().lower()
    if not text or (text in _OFF and _SWITCHES.search(name)):
        return Effect.UNSUPPORTED
    return Effect.UNSUPPORTED_RESTRICTION


def suggest(name: str) -> str:
    """Return a supported name that a misspelt one may have meant, or ""."""
    close = difflib.get_close_matches(name, SUPPORTED, n=1, cutoff=0.85)
    return close[0] if close else ""
