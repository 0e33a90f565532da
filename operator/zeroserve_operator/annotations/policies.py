"""Policies: what an Ingress' annotations ask for on each of its routes.

In: the annotations of an Ingress. Out: `Policy`. Called by `building.planning`, once for each version of an
object. The behaviour is ingress-nginx's; each part names its source there (internal/ingress/annotations/…).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import Enum

from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.model import (
    NO_TIMEOUTS,
    ROUND_ROBIN,
    BackendProtocol,
    CanaryRule,
    CrossOrigin,
    Denial,
    ErrorPages,
    Forwarding,
    HeaderEdits,
    HttpsRedirect,
    Redirect,
    Timeouts,
    TrafficLimits,
)
from zeroserve_ir.tree import AttachPlugin

from zeroserve_operator.annotations.balancing import read_retries, read_selection
from zeroserve_operator.annotations.canaries import read_canary
from zeroserve_operator.annotations.client_certificates import ClientRequest, read_client_request
from zeroserve_operator.annotations.cures import find_cure
from zeroserve_operator.annotations.error_pages import read_error_pages
from zeroserve_operator.annotations.external_auth import ExternalAuthRequest, read_external_auth
from zeroserve_operator.annotations.header_edits import CERTIFICATE_FIELDS, SERVER_SNIPPET, read_header_edits
from zeroserve_operator.annotations.limits import read_limits
from zeroserve_operator.annotations.mirrors import read_mirror
from zeroserve_operator.annotations.names import (
    PLUGINS,
    PREFIX,
    SNIPPETS,
    Effect,
    classify,
    classify_other,
    find_meant,
)
from zeroserve_operator.annotations.plugins import read_plugins
from zeroserve_operator.annotations.redirects import read_redirect, read_root
from zeroserve_operator.annotations.service_tls import ServiceTlsRequest, read_service_tls
from zeroserve_operator.annotations.values import Annotations
from zeroserve_operator.annotations.variables import UnknownVariableError, expand
from zeroserve_operator.resources.objects import LABEL_PATTERN, NAME_PATTERN, Meta
from zeroserve_operator.settings import DEFAULT_BUILD, BuildSettings

_REWRITE = re.compile(r"[/$][-._~a-zA-Z0-9/:$]*")
_REWRITE_VARIABLE = re.compile(r"\$(?![1-9](?![0-9]))")
_FIELD_VALUE = re.compile(r"[-A-Za-z0-9._~:/$]+")
_REALM = re.compile(r"[-._~a-zA-Z0-9/: ]*")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\*\.)?[A-Za-z0-9.-]+(:\d{1,5})?|null")
_METHODS = re.compile(r"[A-Za-z]+(,? ?[A-Za-z]+)*,?")
_HEADERS = re.compile(r"[-A-Za-z0-9_, ]+")
_EXPOSED = re.compile(r"[-A-Za-z0-9_, *]+")
_AGE = re.compile(r"-?\d{1,9}")
_CORS_METHODS = "GET, PUT, POST, DELETE, PATCH, OPTIONS"
_CORS_HEADERS = (
    "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,"
    "Authorization"
)
_CORS_AGE_S = 1728000
_OTHER_PROTOCOLS = frozenset({"FCGI", "AUTO_HTTP", "AJP"})
RANGES_MAX = 4096
"""CIDRs of one list; ingress-nginx has no bound, an annotation has at most 256 KiB."""


class AccountsFormat(Enum):
    """`auth-secret-type`."""

    FILE = "auth-file"
    MAP = "auth-map"


@dataclass(frozen=True, slots=True)
class PasswordRequest:
    """The Secret that basic authentication reads its accounts from."""

    namespace: str
    secret: str
    format: AccountsFormat
    realm: str


@dataclass(frozen=True, slots=True)
class Policy:
    """What the annotations of an Ingress ask for."""

    redirect: HttpsRedirect = HttpsRedirect.WHERE_TLS
    use_regex: bool = False
    rewrite: str | None = None
    timeouts: Timeouts = NO_TIMEOUTS
    body_bytes_max: int | None = None
    protocol: BackendProtocol = BackendProtocol.HTTP
    service_tls: ServiceTlsRequest | None = None
    allowed: tuple[tuple[str, ...], ...] = ()
    passwords: PasswordRequest | None = None
    denied: tuple[str, ...] = ()
    any_suffices: bool = False
    external: ExternalAuthRequest | None = None
    clients: ClientRequest | None = None
    limits: TrafficLimits | None = None
    moved: Redirect | None = None
    root: str = ""
    forwarding: Forwarding = ROUND_ROBIN
    error_pages: ErrorPages | None = None
    logged: bool = True
    header_edits: HeaderEdits | None = None
    edits_server: bool = False
    """They were meant for all paths of its hosts."""
    cross_origin: CrossOrigin | None = None
    passthrough: bool = False
    canary: CanaryRule | None = None
    """It stands beside the Ingresses that serve its hosts, and gets some of their requests."""
    aliases: tuple[str, ...] = ()
    """Other names of its hosts, as written."""
    www: bool = False
    """Its hosts are also found with `www.` before them, or without it."""
    plugins: tuple[AttachPlugin, ...] = ()
    denial: Denial | None = None
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def restricts(self) -> bool:
        """Whether it keeps anybody out."""
        checked = self.passwords or self.external or self.clients
        return bool(self.allowed or self.denied or checked or self.denial)

    @property
    def speaks_tls(self) -> bool:
        """Whether a Service is asked over TLS."""
        return self.protocol.secure or (self.external is not None and self.external.secure)


NO_POLICY = Policy()


def read_policy(meta: Meta, settings: BuildSettings = DEFAULT_BUILD, hosts: Collection[str] = ()) -> Policy:
    """Read all annotations of an Ingress, whose rules name `hosts`."""
    values = {key.removeprefix(PREFIX): text for key, text in meta.annotations if key.startswith(PREFIX)}
    annotations = Annotations(values, meta.key.origin, settings.honour_restrictions)
    _name_unsupported(annotations)
    _name_others(annotations, meta)
    policy = Policy(
        redirect=_read_redirect(annotations),
        use_regex=annotations.flag("use-regex", False),
        rewrite=_read_rewrite(annotations),
        timeouts=Timeouts(
            connect_ms=annotations.seconds("proxy-connect-timeout"),
            read_ms=annotations.seconds("proxy-read-timeout"),
            send_ms=annotations.seconds("proxy-send-timeout"),
        ),
        body_bytes_max=annotations.size("proxy-body-size"),
        protocol=_read_protocol(annotations),
        allowed=_read_allowed(annotations),
        passwords=_read_passwords(annotations, meta.key.namespace),
        denied=_read_denied(annotations),
        any_suffices=annotations.text("satisfy") == "any",
        external=read_external_auth(annotations, meta, hosts, settings.shared_auth_services),
        clients=read_client_request(annotations, meta.key.namespace),
        limits=read_limits(annotations, meta),
        moved=read_redirect(annotations),
        root=read_root(annotations),
        forwarding=_read_forwarding(annotations, meta),
        error_pages=read_error_pages(annotations, meta),
        logged=annotations.flag("enable-access-log", True),
        cross_origin=_read_cross_origin(annotations),
        passthrough=annotations.flag("ssl-passthrough", False),
        canary=read_canary(annotations),
        aliases=tuple(name.strip() for name in annotations.text("server-alias").split(",") if name.strip()),
        www=annotations.flag("from-to-www-redirect", False),
    )
    grpc = policy.protocol in (BackendProtocol.GRPC, BackendProtocol.GRPCS)
    verified = _list_verified(policy.external, policy.clients)
    header_edits = read_header_edits(annotations, meta, grpc=grpc, verified=verified)
    service_tls = read_service_tls(annotations, meta.key.namespace, spoken=policy.speaks_tls)
    if policy.any_suffices and policy.denied:
        message = (
            "is any beside denylist-source-range, which would let in who is denied: its routes answer 503"
        )
        annotations.close("satisfy", message, Code.ZS0402, "remove one of them")
    if policy.any_suffices and policy.passwords and annotations.text("auth-url"):
        message = "is any beside auth-type and auth-url: its routes answer 503"
        annotations.close("satisfy", message, Code.ZS0402, "remove one of them")
    if policy.passthrough and policy.restricts:
        cure = "let the backend restrict access"
        message = "passes bytes on, which no restriction of access sees: its routes answer 503"
        annotations.close("ssl-passthrough", message, Code.ZS0402, cure)
    plugins, fault = read_plugins(meta)
    denial, found = annotations.denial, annotations.diagnostics
    if meta.annotations_lost:
        denial = denial or Denial("ZS0301: metadata.annotations is no mapping")
    if fault is not None:
        denial = denial or Denial(f"{fault.code.name}: {fault.message}")
        found = [*found, fault]
    return replace(
        policy,
        header_edits=header_edits,
        edits_server=header_edits is not None and annotations.has(SERVER_SNIPPET),
        service_tls=service_tls,
        plugins=plugins,
        denial=denial,
        diagnostics=tuple(found),
    )


def _list_verified(external: ExternalAuthRequest | None, clients: ClientRequest | None) -> frozenset[str]:
    """Return the fields of requests, in lower case, that say who a client is."""
    copied = external.check.copied if external is not None else ()
    certified = CERTIFICATE_FIELDS if clients is not None else frozenset()
    return certified.union(name.lower().replace("_", "-") for name in copied)


def _name_unsupported(annotations: Annotations) -> None:
    for name, value in sorted(annotations.values.items()):
        restricts = "may restrict access" if name in SNIPPETS else "restricts access"
        match classify(name, value):
            case Effect.HONOURED:
                continue
            case Effect.UNSUPPORTED_RESTRICTION if annotations.honour_restrictions:
                annotations.close(
                    name,
                    f"{restricts} and is not honoured: its routes answer 503",
                    Code.ZS0402,
                    find_cure(name),
                )
            case Effect.UNSUPPORTED_RESTRICTION:
                message = f"{restricts} and is not honoured: served open"
                annotations.warn(name, message, Code.ZS0402, find_cure(name))
            case Effect.UNSUPPORTED:
                annotations.warn(name, "is not supported and has no effect", Code.ZS0401, find_cure(name))


def _name_others(annotations: Annotations, meta: Meta) -> None:
    """Close routes that a foreign annotation was to restrict; name those under a misspelt prefix."""
    for key, value in meta.annotations:
        if key.startswith(PREFIX) or key == PLUGINS:
            continue
        effect = classify_other(key, value)
        if effect is Effect.FOREIGN:
            continue
        restricting = effect is Effect.UNSUPPORTED_RESTRICTION
        closes = restricting and annotations.honour_restrictions
        code = Code.ZS0402 if restricting else Code.ZS0401
        message = f"{key} is not honoured" + (": its routes answer 503" if closes else " and has no effect")
        severity = Severity.ERROR if closes else Severity.WARNING
        origin = annotations.origin.at(f"metadata.annotations[{key}]")
        cure = "remove it, or see docs/annotations.md for what is honoured"
        if wanted := find_meant(key):
            cure = f"write {wanted}"
        annotations.diagnostics.append(Diagnostic(code, message, origin=origin, help=cure, severity=severity))
        if closes and annotations.denial is None:
            annotations.denial = Denial(f"{code.name}: {message}")


def _read_redirect(annotations: Annotations) -> HttpsRedirect:
    """rewrite/main.go: `force-ssl-redirect` redirects without TLS too."""
    where_tls = annotations.flag("ssl-redirect", True)
    if annotations.flag("force-ssl-redirect", False):
        return HttpsRedirect.ALWAYS
    return HttpsRedirect.WHERE_TLS if where_tls else HttpsRedirect.NEVER


def _read_rewrite(annotations: Annotations) -> str | None:
    """rewrite/main.go, RegexPathWithCapture; a wrong one closes: other paths of the Service would show."""
    target = annotations.text("rewrite-target")
    if not annotations.has("rewrite-target") or not target:
        return None
    if _REWRITE.fullmatch(target) and not _REWRITE_VARIABLE.search(target):
        return target
    annotations.close(
        "rewrite-target",
        f"is `{target}`, not a path with captures: its routes answer 503",
        Code.ZS0403,
        "write a path of letters, digits and `-._~/:`, with `$1` to `$9` for what the path captured",
    )
    return None


def _read_protocol(annotations: Annotations) -> BackendProtocol:
    """backendprotocol/main.go: not case-sensitive; unknown ones count as HTTP there."""
    value = annotations.text("backend-protocol").upper()
    known = {item.name: item for item in BackendProtocol}
    if value in known or not value:
        return known.get(value, BackendProtocol.HTTP)
    if value in _OTHER_PROTOCOLS:
        annotations.close(
            "backend-protocol",
            f"is {value}, which is not supported yet: its routes answer 503",
            Code.ZS0403,
            "HTTP, HTTPS, GRPC and GRPCS are supported",
        )
    else:
        annotations.warn("backend-protocol", f"is `{value}`, which is no protocol; HTTP is used")
    return BackendProtocol.HTTP


def _read_allowed(annotations: Annotations) -> tuple[tuple[str, ...], ...]:
    """ipallowlist/main.go; where both names are given, the client must be in both lists."""
    names = ("whitelist-source-range", "allowlist-source-range")
    lists = (_read_ranges(annotations, name) for name in names if annotations.has(name))
    return tuple(ranges for ranges in lists if ranges)


def _read_denied(annotations: Annotations) -> tuple[str, ...]:
    """ipdenylist/main.go."""
    return (
        _read_ranges(annotations, "denylist-source-range")
        if annotations.text("denylist-source-range")
        else ()
    )


def _read_ranges(annotations: Annotations, name: str) -> tuple[str, ...]:
    """Read a list of CIDRs; none where it is wrong, which closes."""
    ranges, wrong = [], []
    for item in annotations.text(name).rstrip(", \n").split(","):
        try:
            ranges.append(str(ipaddress.ip_network(item.strip(), strict=False)))
        except ValueError:
            wrong.append(item.strip())
    if wrong or len(ranges) > RANGES_MAX:
        problem = f"holds `{wrong[0]}`" if wrong else f"has more than {RANGES_MAX} ranges"
        annotations.close(
            name,
            f"{problem}, not only IPs and CIDRs: its routes answer 503",
            Code.ZS0403,
            "write addresses and CIDRs with commas between them, such as 10.0.0.0/8,2001:db8::1",
        )
        return ()
    return tuple(sorted(set(ranges)))


def _read_forwarding(annotations: Annotations, meta: Meta) -> Forwarding:
    retries, duration_ms, retry_match = read_retries(annotations)
    return Forwarding(
        selection=read_selection(annotations),
        retries=retries,
        try_duration_ms=duration_ms,
        retry_match=retry_match,
        host=_read_header(annotations, "upstream-vhost", meta),
        prefix=_read_header(annotations, "x-forwarded-prefix", meta),
        mirror=read_mirror(annotations, meta),
    )


def _read_header(annotations: Annotations, name: str, meta: Meta) -> str:
    """upstreamvhost/main.go, xforwardedprefix/main.go: a value of a request's field."""
    text = annotations.matching(name, _FIELD_VALUE, "")
    try:
        return expand(text, {"namespace": meta.key.namespace, "ingress_name": meta.key.name})
    except UnknownVariableError as error:
        annotations.warn(name, f"holds {error}, which is not known here; it has no effect")
        return ""


def _read_passwords(annotations: Annotations, namespace: str) -> PasswordRequest | None:
    """auth/main.go: `auth-type`, `auth-secret`, `auth-secret-type`, `auth-realm`."""
    if not annotations.has("auth-type"):
        for name in ("auth-secret", "auth-secret-type", "auth-realm"):
            if annotations.text(name):
                cure = f'add {PREFIX}auth-type: "basic"'
                annotations.close(name, "needs auth-type: its routes answer 503", Code.ZS0404, cure)
        return None
    kind = annotations.text("auth-type").lower()
    if kind != "basic":
        code = Code.ZS0402 if kind == "digest" else Code.ZS0403
        message = f"is `{kind}`, and only basic is honoured: its routes answer 503"
        annotations.close("auth-type", message, code)
        return None
    space, slash, name = annotations.text("auth-secret").rpartition("/")
    space = space if slash else namespace
    if not NAME_PATTERN.fullmatch(name) or not LABEL_PATTERN.fullmatch(space):
        found = f"is `{annotations.text('auth-secret')}`" if annotations.has("auth-secret") else "is missing"
        message = f"{found}, and auth-type needs the name of a Secret: its routes answer 503"
        annotations.close("auth-secret", message, Code.ZS0404 if not name else Code.ZS0403)
        return None
    if space != namespace:
        message = f"names a Secret of namespace {space}: its routes answer 503"
        annotations.close("auth-secret", message, Code.ZS0308, f"copy the Secret to namespace {namespace}")
        return None
    kinds = {item.value: item for item in AccountsFormat}
    form = annotations.text("auth-secret-type") or AccountsFormat.FILE.value
    if form not in kinds:
        message = f"is `{form}`, not auth-file or auth-map: its routes answer 503"
        annotations.close("auth-secret-type", message, Code.ZS0403)
        return None
    realm = annotations.matching("auth-realm", _REALM, "Authentication Required")
    return PasswordRequest(space, name, kinds[form], realm)


def _read_cross_origin(annotations: Annotations) -> CrossOrigin | None:
    """cors/main.go; unlike there, origins that are all wrong allow none."""
    if not annotations.flag("enable-cors", False):
        present = next((name for name in sorted(annotations.values) if name.startswith("cors-")), "")
        if present and not annotations.has("enable-cors"):
            cure = f'add {PREFIX}enable-cors: "true", or remove it'
            annotations.warn(present, "has no effect without enable-cors", Code.ZS0404, cure)
        return None
    origins: list[str] = []
    for item in annotations.text("cors-allow-origin").split(","):
        origin = item.strip()
        if origin == "*":
            origins = ["*"]
            break
        if _ORIGIN.fullmatch(origin):
            origins.append(origin)
        elif origin:
            annotations.warn("cors-allow-origin", f"holds `{origin}`, which is no origin and is left out")
    age = annotations.matching("cors-max-age", _AGE, str(_CORS_AGE_S))
    return CrossOrigin(
        origins=tuple(origins) if annotations.has("cors-allow-origin") else ("*",),
        methods=annotations.matching("cors-allow-methods", _METHODS, _CORS_METHODS),
        headers=annotations.matching("cors-allow-headers", _HEADERS, _CORS_HEADERS),
        expose=annotations.matching("cors-expose-headers", _EXPOSED, ""),
        credentials=annotations.flag("cors-allow-credentials", True),
        age_max_s=int(age),
    )
