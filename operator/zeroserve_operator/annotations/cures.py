"""Cures: what somebody who wrote an annotation that is not honoured can do instead.

In: a name without its prefix. Out: one sentence for the finding that names it. Called by `policies`. Rule: a
cure is true of this controller as it is; a name that ingress-nginx has is never called a misspelt one.
"""

from __future__ import annotations

from typing import Final

from zeroserve_operator.annotations.names import NEEDLESS, PREFIX, suggest

_BODY: Final = "serve the host by a ZeroserveRoute"
_COOKIE: Final = "remove it: the cookie has Path=/ and HttpOnly, over TLS also Secure and SameSite=None"
_SUITES: Final = "remove it: TLS 1.2 and 1.3 are spoken, with ephemeral keys alone"
_TRACING: Final = "remove it: `tracing.endpoint` of the chart names a collector for the spans of all hosts"
_DEPTH: Final = "remove it: chains of Services are as long as the authority of proxy-ssl-secret lets them be"
_TRUST: Final = "have the operator trust the proxies before it: --trusted-proxy CIDR"
_FIREWALL: Final = (
    "remove it, and let a plugin (docs/plugins.md) or what stands before the nodes filter requests"
)
_ASKED: Final = "remove it: the Service that auth-url names is asked with all of the client's fields"
_RATE: Final = f"write {PREFIX}limit-rps or limit-rpm: requests of a client in a second or minute"
_HEALTH: Final = "remove it: Pods that are not ready get no requests (readinessProbe)"
_WEBSOCKETS: Final = "remove it: WebSockets pass"
_ADDRESSES: Final = "remove it: nodes go to the ready Pods of a Service, not to its address"
_STREAMS: Final = "it is nginx's own configuration: --tcp-service of the operator passes streams on"
_VERSIONS: Final = "remove it: Services are spoken to by HTTP/1.1, with backend-protocol GRPC by HTTP/2"

CURES: Final = {
    "affinity-canary-behavior": "remove it: a canary has a cookie of its own",
    "affinity-mode": "remove it: a client keeps its endpoint while that is there",
    "auth-proxy-set-headers": _ASKED,
    "auth-snippet": _ASKED,
    "connection-proxy-header": "remove it: connections to Services are kept open, and upgrades pass",
    "custom-headers": f"{_BODY}: its `header` sets fields of answers",
    "enable-global-auth": "remove it: there is no authentication but that of the Ingress itself",
    "enable-modsecurity": _FIREWALL,
    "enable-opentelemetry": _TRACING,
    "enable-owasp-core-rules": _FIREWALL,
    "fastcgi-index": "FastCGI is not spoken to Services: let the Pod speak HTTP",
    "fastcgi-params-configmap": "FastCGI is not spoken to Services: let the Pod speak HTTP",
    "modsecurity-snippet": _FIREWALL,
    "modsecurity-transaction-id": _FIREWALL,
    "opentelemetry-operation-name": _TRACING,
    "opentelemetry-trust-incoming-span": _TRACING,
    "preserve-trailing-slash": "remove it: redirects to HTTPS keep the path as it is",
    "proxy-cookie-domain": f"{_BODY}: its `header_down Set-Cookie` replaces parts of cookies",
    "proxy-cookie-path": f"{_BODY}: its `header_down Set-Cookie` replaces parts of cookies",
    "proxy-http-version": _VERSIONS,
    "proxy-redirect-from": f"{_BODY}: its `header_down Location` replaces parts of addresses",
    "proxy-redirect-to": f"{_BODY}: its `header_down Location` replaces parts of addresses",
    "proxy-ssl-ciphers": _SUITES,
    "proxy-ssl-verify-depth": _DEPTH,
    "relative-redirects": f"{_BODY}: its `redir` may name a path alone",
    "service-upstream": _ADDRESSES,
    "session-cookie-change-on-failure": "remove it: where an endpoint is gone, the cookie names another one",
    "session-cookie-domain": _COOKIE,
    "session-cookie-path": _COOKIE,
    "session-cookie-samesite": _COOKIE,
    "session-cookie-secure": _COOKIE,
    "ssl-ciphers": _SUITES,
    "ssl-prefer-server-ciphers": _SUITES,
    "stream-snippet": _STREAMS,
    "upstream-hash-by-subset": "remove it: a key leads to one endpoint",
    "upstream-hash-by-subset-size": "remove it: a key leads to one endpoint",
    "use-port-in-redirects": "remove it: redirects to HTTPS name the port that clients reach it at",
}
"""What ingress-nginx has and we have not."""

_MEANT: Final = {
    "client-max-body-size": f"did you mean {PREFIX}proxy-body-size?",
    "enable-opentracing": _TRACING,
    "enable-real-ip": _TRUST,
    "enable-websocket": _WEBSOCKETS,
    "enable-websockets": _WEBSOCKETS,
    "forwarded-for-header": _TRUST,
    "global-rate-limit": _RATE,
    "lua-resty-waf": _FIREWALL,
    "mirror-uri": f"write {PREFIX}mirror-target with http://NAME.NAMESPACE.svc.cluster.local:PORT$request_uri",
    "proxy-buffers": "remove it: it tunes nginx, and answers are the same without it",
    "rate-limit": _RATE,
    "rate-limit-window": _RATE,
    "secure-backends": f'write {PREFIX}backend-protocol: "HTTPS"',
    "session-cookie-hash": "remove it: the cookie names an endpoint",
    "ssl-protocols": _SUITES,
    "use-forwarded-headers": _TRUST,
    "websocket-services": _WEBSOCKETS,
}
"""What manifests carry beside it: names of old, keys of its ConfigMap, and of other controllers."""
_FAMILIES: Final = {
    "global-rate-limit-": _RATE,
    "health-check-": _HEALTH,
    "jaeger-": _TRACING,
    "lua-resty-waf-": _FIREWALL,
    "opentracing-": _TRACING,
    "zipkin-": _TRACING,
}


def find_cure(name: str) -> str:
    """Return what can be done about an annotation that is not honoured."""
    if name in NEEDLESS:
        return "remove it: it tunes nginx, and answers are the same without it"
    if known := CURES.get(name) or _MEANT.get(name):
        return known
    if meant := suggest(name):
        return f"did you mean {PREFIX}{meant}?"
    family = next((cure for prefix, cure in _FAMILIES.items() if name.startswith(prefix)), "")
    return family or "remove it: ingress-nginx 1.15 has no annotation of this name"
