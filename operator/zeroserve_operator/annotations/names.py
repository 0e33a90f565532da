"""Names of annotations: which are honoured, and which restrict access.

In: keys of `metadata.annotations` with their values. Out: what they are called without their prefix, and what
becomes of them. Rule: a name that may restrict access closes, whatever its case, spelling or prefix: of two
mistakes, an answer of 503 is seen and an open door is not.
"""

from __future__ import annotations

import difflib
import re
from enum import Enum
from functools import lru_cache

NAMES_CACHED_MAX = 1024
PREFIX_RATIO_MIN = 0.93
"""How alike a prefix is that was meant to be ours; those of other controllers are at most 0.86."""
PREFIX = "nginx.ingress.kubernetes.io/"
PLUGINS = "zeroserve.dev/plugins"

SUPPORTED = (
    "affinity",
    "allowlist-source-range",
    "app-root",
    "auth-always-set-cookie",
    "auth-method",
    "auth-realm",
    "auth-request-redirect",
    "auth-response-headers",
    "auth-secret",
    "auth-secret-type",
    "auth-signin",
    "auth-signin-redirect-param",
    "auth-tls-error-page",
    "auth-tls-match-cn",
    "auth-tls-pass-certificate-to-upstream",
    "auth-tls-secret",
    "auth-tls-verify-client",
    "auth-tls-verify-depth",
    "auth-type",
    "auth-url",
    "backend-protocol",
    "canary",
    "canary-by-cookie",
    "canary-by-header",
    "canary-by-header-pattern",
    "canary-by-header-value",
    "canary-weight",
    "canary-weight-total",
    "configuration-snippet",
    "cors-allow-credentials",
    "cors-allow-headers",
    "cors-allow-methods",
    "cors-allow-origin",
    "cors-expose-headers",
    "cors-max-age",
    "custom-http-errors",
    "default-backend",
    "denylist-source-range",
    "disable-proxy-intercept-errors",
    "enable-access-log",
    "enable-cors",
    "force-ssl-redirect",
    "from-to-www-redirect",
    "limit-allowlist",
    "limit-burst-multiplier",
    "limit-connections",
    "limit-rate",
    "limit-rate-after",
    "limit-rpm",
    "limit-rps",
    "limit-whitelist",
    "load-balance",
    "mirror-host",
    "mirror-request-body",
    "mirror-target",
    "permanent-redirect",
    "permanent-redirect-code",
    "proxy-body-size",
    "proxy-connect-timeout",
    "proxy-next-upstream",
    "proxy-next-upstream-timeout",
    "proxy-next-upstream-tries",
    "proxy-read-timeout",
    "proxy-send-timeout",
    "proxy-ssl-name",
    "proxy-ssl-protocols",
    "proxy-ssl-secret",
    "proxy-ssl-server-name",
    "proxy-ssl-verify",
    "rewrite-target",
    "satisfy",
    "server-alias",
    "server-snippet",
    "session-cookie-expires",
    "session-cookie-max-age",
    "session-cookie-name",
    "ssl-passthrough",
    "ssl-redirect",
    "temporal-redirect",
    "temporal-redirect-code",
    "upstream-hash-by",
    "upstream-vhost",
    "use-regex",
    "whitelist-source-range",
    "x-forwarded-prefix",
)
NEEDLESS = (
    "auth-cache-duration",
    "auth-cache-key",
    "auth-keepalive",
    "auth-keepalive-requests",
    "auth-keepalive-share-vars",
    "auth-keepalive-timeout",
    "client-body-buffer-size",
    "enable-rewrite-log",
    "http2-push-preload",
    "proxy-buffer-size",
    "proxy-buffering",
    "proxy-buffers-number",
    "proxy-busy-buffers-size",
    "proxy-max-temp-file-size",
    "proxy-request-buffering",
    "session-cookie-conditional-samesite-none",
)
"""How nginx works inside: no answer would be another one with or without them."""
SNIPPETS = frozenset({"auth-snippet", "stream-snippet"})
"""Configuration of nginx that is not read: it may do anything."""
_SUPPORTED = frozenset(SUPPORTED)
_RESTRICTIONS = (
    "allowlist-source-range",
    "auth-secret",
    "auth-signin",
    "auth-tls-secret",
    "auth-tls-verify-client",
    "auth-type",
    "auth-url",
    "blacklist-source-range",
    "configuration-snippet",
    "denylist-source-range",
    "enable-modsecurity",
    "modsecurity-snippet",
    "proxy-ssl-secret",
    "proxy-ssl-verify",
    "satisfy",
    "server-snippet",
    "stream-snippet",
    "whitelist-source-range",
)
"""What restricts access in ingress-nginx, under whatever prefix: it has `--annotations-prefix`."""

_HARMLESS = re.compile(
    r"^(global-)?(rate-)?limit-|^rate-limit|^cors-allow-(origin|methods|headers|credentials)$"
)
"""Limits traffic, not access (`limit-whitelist` exempts from it), or tells browsers what to share."""
_RESTRICTING = re.compile(
    r"auth|allow|den(?:y|ied)|(?:white|black|block)-?list|block-|satisfy|modsec|owasp|snipp?ets?$"
    r"|source-range|cidr|client-cert|restrict|forbid|firewall|app-protect|access-control$|geo-?ip|password|passwd"
    r"|(?:^|-)(?:waf|acls?|jwt|oidc|saml|sso|mtls|ldap)(?:$|-)"
)
_OFF = frozenset({"", "false", "off", "0", "f", "no"})
_SWITCHES = re.compile(r"^enable-|^auth-always-set-cookie$|^lua-resty-waf$|^proxy-ssl-verify$")

_CONTROLLERS = re.compile(
    r"ingress|nginx|haproxy|traefik|konghq|contour|ambassador|apisix|skipper|zalando|openshift|pomerium"
    r"|f5\.com|higress|caddy"
)
"""Prefixes of ingress controllers; among others a restriction has the very name that ingress-nginx has."""
_REFERENCES = frozenset(
    {
        "router-middlewares",
        "router-tls-options",
        "middlewares",
        "plugins",
        "policies",
        "plugin-config-name",
        "skipper-filter",
    }
)
"""Of other controllers: what they name may restrict access, and is not read."""
_HARMLESS_REFERENCES = re.compile(
    r"redirect|https|headers?|compress|gzip|strip|prefix|cors|rewrite|retry|buffering|rate-?limit|www"
)
_RESTRICTING_REFERENCES = re.compile(
    r"jwt|oidc|saml|ldap|mtls|hmac|token|api-?key|keycloak|crowdsec|bouncer|captcha|login|sign-?in"
)
"""In such a name, wherever it stands: `jwt2header`, `redirect-to-login`."""
_SEPARATORS = re.compile(r"[\s,]+")
_EVERYONE = frozenset({"0.0.0.0/0", "::/0"})


class Effect(Enum):
    """What becomes of an annotation."""

    HONOURED = "honoured"
    FOREIGN = "means nothing here"
    UNSUPPORTED = "not supported"
    UNSUPPORTED_RESTRICTION = "restricts access and is not supported"


def classify(name: str, value: str) -> Effect:
    """Tell what becomes of an annotation of ingress-nginx, by its name without the prefix and its value."""
    if name in _SUPPORTED:
        return Effect.HONOURED
    if name in NEEDLESS:
        return Effect.UNSUPPORTED
    folded = _fold(name)
    if folded == "satisfy" and value.strip() == "all":
        return Effect.HONOURED
    if not _may_restrict(folded):
        return Effect.UNSUPPORTED
    # An empty value, or a switch that is off, restricts nothing in ingress-nginx either.
    text = value.strip().lower()
    if not text or (text in _OFF and _SWITCHES.search(folded)):
        return Effect.UNSUPPORTED
    return Effect.UNSUPPORTED_RESTRICTION


def classify_other(key: str, value: str) -> Effect:
    """Tell what becomes of an annotation under another prefix than ingress-nginx', or under none."""
    prefix, _, name = key.rpartition("/")
    folded, ours = _fold(name), is_misspelt(prefix)
    if "zeroserve" in prefix.lower():
        restricts = find_meant(key) == PLUGINS
    elif ours or _CONTROLLERS.search(prefix.lower()):
        restricts = _may_restrict(folded) or (folded in _REFERENCES and not _is_harmless(value))
    else:
        restricts = folded in _RESTRICTIONS
    if restricts and not _is_open(value):
        return Effect.UNSUPPORTED_RESTRICTION
    return Effect.UNSUPPORTED if ours else Effect.FOREIGN


@lru_cache(NAMES_CACHED_MAX)
def is_misspelt(prefix: str) -> bool:
    """Tell whether a prefix was meant for us: that of ingress-nginx, of old or misspelt."""
    folded = prefix.lower()
    if "zeroserve" in folded or folded == "ingress.kubernetes.io":
        return True
    if "nginx" in folded and "kubernetes" in folded:
        return True
    return difflib.SequenceMatcher(None, folded, PREFIX[:-1]).ratio() >= PREFIX_RATIO_MIN


def suggest(name: str) -> str:
    """Return a supported name that a misspelt one may have meant, or ""."""
    close = difflib.get_close_matches(_fold(name), SUPPORTED, n=1, cutoff=0.85)
    return close[0] if close else ""


def find_meant(key: str) -> str:
    """Return the key that one under a misspelt prefix may have meant, or ""."""
    prefix, _, name = key.rpartition("/")
    if "zeroserve" in prefix.lower():
        return PLUGINS if difflib.get_close_matches(_fold(name), ["plugins"], cutoff=0.75) else ""
    meant = suggest(name) if is_misspelt(prefix) else ""
    return PREFIX + meant if meant else ""


def _fold(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(".", "-")


@lru_cache(NAMES_CACHED_MAX)
def _may_restrict(folded: str) -> bool:
    if _HARMLESS.search(folded):
        return False
    misspelt = difflib.get_close_matches(folded, _RESTRICTIONS, n=1, cutoff=0.85)
    return bool(misspelt) or _RESTRICTING.search(folded) is not None


def _is_open(value: str) -> bool:
    """Tell whether a restriction is switched off, or lets everyone in."""
    text = value.strip().lower()
    return text in _OFF or text in ("none", "all") or _EVERYONE.issuperset(_SEPARATORS.split(text))


def _is_harmless(references: str) -> bool:
    """Tell whether all that is named says by its name that it restricts nothing."""
    return all(
        _HARMLESS_REFERENCES.search(item)
        and not _RESTRICTING.search(item)
        and not _RESTRICTING_REFERENCES.search(item)
        for item in _SEPARATORS.split(references.strip().lower())
    )
