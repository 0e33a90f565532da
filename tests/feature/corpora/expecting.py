"""What an Ingress asks for, said again apart from the implementation: probes and the answers allowed.

In: raw Ingresses of one manifest. Out: `Probe`s: one for each rule's path and scheme, with the statuses that
the Ingress specification and the annotations allow.
"""

import ipaddress
import itertools
import re
from dataclasses import dataclass
from re import _constants as constants
from re import _parser as parser

from header_snippets import sets_headers

PREFIX = "nginx.ingress.kubernetes.io/"
RESTRICTING = re.compile(
    r"auth-(url|signin|snippet|method|tls-.*|response-headers)|.*-snippet|enable-modsecurity|modsecurity-.*"
    r"|enable-owasp-core-rules"
)
"""What is not honoured, or needs the authorities of clients (`auth-tls-…`), which no manifest here brings."""
ASKING = re.compile(r"auth-(url|signin|method|response-headers)")
"""Honoured where `auth-url` names a Service of the own namespace."""
FOREIGN = re.compile(
    r"traefik\.ingress\.kubernetes\.io/router\.(middlewares|tls\.options)|konghq\.com/plugins|nginx\.org/policies"
    r"|((nginx|haproxy)\.(org|com)|.*ingress.*)/.*(auth|allow-?list|white-?list|deny|snippet).*"
)
"""Annotations of other controllers that restrict access, or name what may."""
FOREIGN_OPEN = re.compile(r"[\w-]*(redirect|headers|compress|strip|cors)[\w-]*(@kubernetescrd)?")
OFF = ("", "false", "off", "all")
REGEX_SIGNS = re.compile(r"[(|*+?\[\\^$]")


@dataclass(frozen=True, slots=True)
class Probe:
    """A request, and what may come of it."""

    host: str
    path: str
    tls: bool
    statuses: frozenset[int]
    upstream_path: str | None
    """What the backend must see where it answers; None is not foretold."""
    services: frozenset[str]
    """Names of the Services that may answer: those of all paths of the host that match."""
    has_account: bool = False


def annotations_of(raw):
    """Return the annotations of ingress-nginx, without their prefix."""
    given = (raw.get("metadata") or {}).get("annotations") or {}
    return {key.removeprefix(PREFIX): str(value) for key, value in given.items() if key.startswith(PREFIX)}


def is_restricted(raw):
    """Say whether an annotation restricts access that is not honoured."""
    given = (raw.get("metadata") or {}).get("annotations") or {}
    if any(
        not key.startswith(PREFIX) and FOREIGN.fullmatch(key) and _means_somebody(str(value))
        for key, value in given.items()
    ):
        return True
    return any(
        RESTRICTING.fullmatch(key)
        and value.strip().lower() not in OFF
        and not sets_headers(key, value)
        and not (ASKING.fullmatch(key) and asks_own_service(raw))
        for key, value in annotations_of(raw).items()
    )


def asks_own_service(raw):
    """Say whether `auth-url` names a Service of the own namespace, or a path of the own host."""
    own = (raw.get("metadata") or {}).get("namespace") or "default"
    service = rf"https?://([\w-]+\.{re.escape(own)}\.svc(\.cluster\.local)?(:\d+)?|\$host)(/.*)?"
    return bool(re.fullmatch(service, annotations_of(raw).get("auth-url", "")))


def _means_somebody(value):
    names = [one.strip() for one in value.split(",") if one.strip()]
    return any(one not in (*OFF, "none") and not FOREIGN_OPEN.fullmatch(one) for one in names)


def rules_of(raw):
    """Return (host, path, path type, backend) of each path; hosts and paths as written."""
    for rule in (raw.get("spec") or {}).get("rules") or []:
        for path in ((rule or {}).get("http") or {}).get("paths") or []:
            yield (
                rule.get("host") or "",
                path.get("path") or "/",
                path.get("pathType"),
                path.get("backend") or {},
            )


def probes_of(raw, faulty):
    """Return the probes of an Ingress; `faulty` ones, which a diagnostic of an error names, may be closed."""
    annotations = annotations_of(raw)
    regex = annotations.get("use-regex") == "true" or "rewrite-target" in annotations
    secured = {
        host
        for entry in (raw.get("spec") or {}).get("tls") or []
        for host in (entry or {}).get("hosts") or [""]
    }
    for host, path, _, backend in rules_of(raw):
        name = (host.replace("*", "wild", 1) if host else "any.example").lower()
        # ingress-nginx makes a pattern of every path of such an object, Exact ones too (buildLocation).
        sent = sample(path) if regex else path
        redirected = annotations.get("force-ssl-redirect") == "true" or (
            annotations.get("ssl-redirect") != "false" and ({host, ""} & secured or _covered(host, secured))
        )
        served = _outcome(raw, annotations, faulty)
        upstream = rewritten(path, annotations["rewrite-target"], sent) if _rewrites(annotations) else sent
        services = {_service(backend)}
        if regex:
            others = (other for other in rules_of(raw) if other[0] == host and matches(other[1], sent))
            services |= {_service(other[3]) for other in others}
            upstream = upstream if len(services) == 1 else None
        accounts = (False, True) if served == {401} else (False,)
        for tls, has_account in itertools.product((False, True), accounts):
            allowed = {200} if has_account else set(served)
            if annotations.get("app-root") and sent == "/":
                allowed = {302}
            if redirected and not tls:
                allowed = {308} | (allowed - {200, 401, 403})
            elif passes_through(annotations) and not tls:
                allowed = {502}  # The backend speaks TLS only, and plain HTTP is not what passes.
            yield Probe(
                name, sent, tls, frozenset(allowed), upstream, frozenset(services - {""}), has_account
            )


def passes_through(annotations):
    """Whether the clients' TLS goes on to the backends as it came."""
    return annotations.get("ssl-passthrough", "").lower() == "true"


def rewritten(pattern, target, sent):
    """Return what ingress-nginx makes of a path: `rewrite "(?i)PATTERN" TARGET break`, without its query."""
    try:
        found = re.search(pattern, sent, re.IGNORECASE)
    except re.error:
        return None
    if found is None:
        return None
    groups = (found[0], *(group or "" for group in found.groups()))

    def expand(reference):
        number = int(reference[1])
        return groups[number] if number < len(groups) else ""

    path = re.sub(r"\$(\d)", expand, target).partition("?")[0]
    return path if path.startswith("/") else None


def matches(pattern, sent):
    """Say whether a path of an Ingress with patterns matches from its start."""
    try:
        return re.match(pattern, sent, re.IGNORECASE) is not None
    except re.error:
        return False


def _rewrites(annotations):
    return bool(annotations.get("rewrite-target"))


def _service(backend):
    return str((backend.get("service") or {}).get("name") or "")


def _outcome(raw, annotations, faulty):
    if is_restricted(raw):
        return {503, 404} if faulty else {503}
    closed = {404, 503} if faulty else set()
    if "auth-url" in annotations:
        # Where who is asked is there, it lets all in here; where not, nobody comes in.
        closed |= {502, 503}
    denied = annotations.get("denylist-source-range")
    if denied and _admits(denied):
        return {403, 503}
    ranges = annotations.get("whitelist-source-range") or annotations.get("allowlist-source-range")
    if ranges and not _admits(ranges):
        return {403, 503}
    if "auth-type" in annotations:
        return {401} if _has_accounts(raw, annotations) else {401, 503}
    for name, usual in (("temporal-redirect", 302), ("permanent-redirect", 301)):
        if annotations.get(name):
            return {int(annotations.get(f"{name}-code", usual))}
    return {200} | closed


def _has_accounts(raw, annotations):
    """Say whether basic auth names a Secret of its own namespace in the usual format: the tests make it."""
    space = annotations.get("auth-secret", "").strip().rpartition("/")[0]
    own = (raw.get("metadata") or {}).get("namespace") or "default"
    usual = annotations.get("auth-secret-type", "auth-file") == "auth-file"
    return (
        annotations["auth-type"] == "basic"
        and bool(annotations.get("auth-secret"))
        and space in ("", own)
        and usual
    )


def _admits(ranges):
    client = ipaddress.ip_address("127.0.0.1")
    try:
        return any(
            client in ipaddress.ip_network(one.strip(), strict=False)
            for one in ranges.split(",")
            if one.strip()
        )
    except ValueError:
        return False


def _covered(host, secured):
    return any(one.startswith("*.") and host.partition(".")[2] == one[2:] for one in secured)


def sample(pattern):
    """Return a path that a pattern matches from its start."""
    try:
        text = _sample(parser.parse(pattern))
    except re.error:
        return pattern
    return text if text.startswith("/") else "/" + text


def _sample(parsed):
    out = ""
    for operation, argument in parsed:
        if operation is constants.LITERAL:
            out += chr(argument)
        elif operation in (constants.MAX_REPEAT, constants.MIN_REPEAT):
            low, high, inner = argument
            out += _sample(inner) * (low or min(high, 1))
        elif operation is constants.SUBPATTERN:
            out += _sample(argument[3])
        elif operation is constants.BRANCH:
            out += _sample(argument[1][0])
        elif operation is constants.IN:
            out += _sample_set(argument)
        elif operation is constants.ANY:
            out += "x"
    return out


def _sample_set(items):
    first, value = items[0]
    if first is constants.LITERAL:
        return chr(value)
    if first is constants.RANGE:
        return chr(value[0])
    if first is constants.CATEGORY and value is constants.CATEGORY_DIGIT:
        return "1"
    return "x"
