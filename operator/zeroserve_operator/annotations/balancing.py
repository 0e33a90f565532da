"""Balancing: which endpoint of a Service gets a request, and who gets it when that one fails.

In: the annotations of an Ingress. Out: parts of `Forwarding`. Sources: ingress-nginx, annotations/
loadbalancing, sessionaffinity, upstreamhashby, proxy; lua/balancer.lua for what goes before what.
"""

from __future__ import annotations

import re

from zeroserve_ir import tree
from zeroserve_ir.tree import Selection, SelectionPolicy

from zeroserve_operator.annotations.values import Annotations

COOKIE_NAME = "INGRESSCOOKIE"
TRIES_DEFAULT, TRIES_MAX = 3, 16
_COOKIE = re.compile(r"[A-Za-z0-9!#%&'*+.^_`|~-]{1,128}")
_BALANCERS = {
    "round_robin": Selection.ROUND_ROBIN,
    "ewma": Selection.PEAK_EWMA,
    "least_conn": Selection.LEAST_CONNECTIONS,
    "ip_hash": Selection.CLIENT_IP_HASH,
}
_HASHED = {
    "$remote_addr": SelectionPolicy(Selection.CLIENT_IP_HASH),
    "$binary_remote_addr": SelectionPolicy(Selection.CLIENT_IP_HASH),
    "$request_uri": SelectionPolicy(Selection.URI_HASH),
}
_FAILED_BEFORE_ANSWER = frozenset({"error", "timeout", "invalid_header"})
_ANSWERED = {f"http_{status}": status for status in (500, 502, 503, 504, 403, 404, 429)}
_SAFE = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE")
_ALL = (*_SAFE, "POST", "PATCH", "LOCK")


def read_selection(annotations: Annotations) -> SelectionPolicy:
    """Read `affinity`, else `upstream-hash-by`, else `load-balance`."""
    if sticky := _read_affinity(annotations):
        return sticky
    if hashed := _read_hash(annotations):
        return hashed
    name = annotations.text("load-balance")
    if name and name not in _BALANCERS:
        annotations.warn(
            "load-balance", f"is `{name}`, not one of {', '.join(_BALANCERS)}; round_robin holds"
        )
    return SelectionPolicy(_BALANCERS.get(name, Selection.ROUND_ROBIN))


def _read_affinity(annotations: Annotations) -> SelectionPolicy | None:
    kind = annotations.text("affinity")
    if kind != "cookie":
        if kind:
            annotations.warn("affinity", f"is `{kind}`, and only cookie is known; it has no effect")
        return None
    name = annotations.matching("session-cookie-name", _COOKIE, COOKIE_NAME)
    age_s = annotations.number("session-cookie-max-age") or annotations.number("session-cookie-expires")
    return SelectionPolicy(
        Selection.COOKIE,
        key=name,
        max_age_ms=age_s * 1000,
        fallback=SelectionPolicy(Selection.ROUND_ROBIN),
    )


def _read_hash(annotations: Annotations) -> SelectionPolicy | None:
    text = annotations.text("upstream-hash-by").removesuffix(" consistent").strip().strip('"')
    if not text:
        return None
    if text in _HASHED:
        return _HASHED[text]
    if found := re.fullmatch(r"\$(http|arg)_([a-z0-9_]+)", text):
        header = found[1] == "http"
        key = found[2].replace("_", "-") if header else found[2]
        return SelectionPolicy(Selection.HEADER if header else Selection.QUERY, key=key)
    known = "$remote_addr, $request_uri, $http_NAME or $arg_NAME alone"
    annotations.warn("upstream-hash-by", f"is `{text}`, not {known}; it has no effect")
    return None


def read_retries(annotations: Annotations) -> tuple[int, int, tuple[tree.MatcherSet, ...]]:
    """Read `proxy-next-upstream*`: further attempts, for how long (ms), for which requests and answers."""
    names = ("proxy-next-upstream", "proxy-next-upstream-tries", "proxy-next-upstream-timeout")
    if not any(annotations.text(name) for name in names):
        return 0, 0, ()
    when = annotations.text(names[0]).split() or ["error", "timeout"]
    known = {*_FAILED_BEFORE_ANSWER, *_ANSWERED, "non_idempotent", "off"}
    for word in when:
        if word not in known:
            annotations.warn(names[0], f"holds `{word}`, which is not known and has no effect")
    if "off" in when:
        return 0, 0, ()
    tries = annotations.number(names[1]) if annotations.has(names[1]) else TRIES_DEFAULT
    retries = min(tries or TRIES_MAX, TRIES_MAX) - 1
    statuses = [_ANSWERED[word] for word in when if word in _ANSWERED]
    methods = _ALL if "non_idempotent" in when else _SAFE
    asked: list[tree.MatcherSet] = [(tree.MatchMethod(methods),)]
    if statuses:
        condition = f"{{http.reverse_proxy.status_code}} in {statuses}"
        asked.append((tree.MatchMethod(methods), tree.MatchExpression(condition)))
    duration_ms = annotations.number(names[2]) * 1000
    return retries, duration_ms, tuple(asked) if retries else ()
