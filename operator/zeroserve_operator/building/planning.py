"""Plans: what one object asks for, apart from all others.

In: one claimed Ingress or ZeroserveRoute. Out: `Plan`: for each host its part, the certificates asked for,
diagnostics. Depends on the object and the settings only, so it is made once for each version of the object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.model import CertificateRequest
from zeroserve_ir.sources import Origin

from zeroserve_operator.annotations.names import PREFIX
from zeroserve_operator.annotations.policies import NO_POLICY, Policy, read_policy
from zeroserve_operator.annotations.redirects import move_host
from zeroserve_operator.building.hosts import HostError, covers, make_host
from zeroserve_operator.resources.ingresses import BackendReference, Ingress, IngressPath, PathType
from zeroserve_operator.resources.objects import NAME_PATTERN, Meta
from zeroserve_operator.resources.routes import ZeroserveRoute
from zeroserve_operator.settings import BuildSettings


@dataclass(frozen=True, slots=True)
class HostPart:
    """What one object adds to a host: paths with a policy, or a whole site body."""

    meta: Meta
    policy: Policy = NO_POLICY
    paths: tuple[IngressPath, ...] = ()
    default_backend: BackendReference | None = None
    route: ZeroserveRoute | None = None
    tls: bool = False
    certificates: tuple[str, ...] = ()
    field: str = ""
    """Where the object names the host."""
    yields: bool = False
    """It has the host only where no object names it in a rule."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one object asks for."""

    parts: Mapping[str, HostPart]
    requests: tuple[CertificateRequest, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()


@dataclass(slots=True)
class _Draft:
    paths: dict[str, list[IngressPath]] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    findings: list[Diagnostic] = field(default_factory=list)


def plan_ingress(ingress: Ingress, settings: BuildSettings) -> Plan:
    """Plan an Ingress."""
    origin = ingress.meta.key.origin
    policy = read_policy(ingress.meta, settings, {rule.host.lower() for rule in ingress.rules if rule.host})
    draft = _Draft(findings=list(policy.diagnostics))
    for rule in ingress.rules:
        host = _take_host(rule.host, origin.at(f"{rule.field}.host"), draft.findings)
        if host is not None:
            draft.paths.setdefault(host, []).extend(rule.paths)
            draft.fields.setdefault(host, f"{rule.field}.host")
    if ingress.default_backend is not None:
        # "If none of the hosts or paths match, the traffic is routed to your default backend."
        draft.paths.setdefault("", [])
        draft.fields.setdefault("", "spec.defaultBackend")
    tls = _plan_tls(ingress, list(draft.paths), draft.findings)
    parts = {
        host: HostPart(
            meta=ingress.meta,
            policy=policy,
            paths=tuple(paths),
            default_backend=ingress.default_backend,
            tls=host in tls,
            certificates=tuple(tls.get(host, ())),
            field=draft.fields[host],
        )
        for host, paths in draft.paths.items()
    }
    for name, part in _plan_other_names(ingress, policy, parts, draft.findings):
        parts.setdefault(name, part)
    requests = _request_certificates(ingress, parts)
    return Plan(parts, requests, tuple(draft.findings))


def _plan_other_names(
    ingress: Ingress, policy: Policy, parts: Mapping[str, HostPart], findings: list[Diagnostic]
) -> list[tuple[str, HostPart]]:
    """Return the parts of `server-alias` and `from-to-www-redirect` (controller.go, createServers)."""
    found: list[tuple[str, HostPart]] = []
    origin = ingress.meta.key.origin
    for text in policy.aliases if policy.canary is None else ():
        place = f"metadata.annotations[{PREFIX}server-alias]"
        alias = _take_host(text, origin.at(place), findings)
        for part in list(parts.values())[:1] if alias else ():
            found.append((alias or "", replace(part, field=place, yields=True)))
    for host, part in parts.items() if policy.www and policy.canary is None else ():
        if not host or host.startswith("*."):
            continue
        place = f"metadata.annotations[{PREFIX}from-to-www-redirect]"
        other = host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"
        path = IngressPath("/", PathType.PREFIX, None, place)
        moved = replace(NO_POLICY, moved=move_host(host))
        found.append(
            (
                other,
                replace(part, policy=moved, paths=(path,), default_backend=None, field=place, yields=True),
            )
        )
    return found


def plan_route(route: ZeroserveRoute) -> Plan:
    """Plan a ZeroserveRoute."""
    origin = route.meta.key.origin
    findings: list[Diagnostic] = []
    hosts: dict[str, str] = {}
    for index, text in enumerate(route.hosts):
        host = _take_host(text, origin.at(f"spec.hosts[{index}]"), findings)
        if host:
            hosts.setdefault(host, f"spec.hosts[{index}]")
        elif host == "":
            message = "host must not be empty"
            findings.append(Diagnostic(Code.ZS0305, message, origin=origin.at(f"spec.hosts[{index}]")))
    name = f"{route.meta.key.namespace}/{route.secret}"
    certificates = (name,) if route.secret else ()
    parts = {
        host: HostPart(route.meta, route=route, tls=route.tls, certificates=certificates, field=place)
        for host, place in hosts.items()
    }
    requests: tuple[CertificateRequest, ...] = ()
    if route.secret:
        place = origin.at("spec.tls.secretName")
        requests = (CertificateRequest(route.meta.key.namespace, route.secret, tuple(hosts), (place,)),)
    return Plan(parts, requests, tuple(findings))


def _take_host(text: str, origin: Origin, findings: list[Diagnostic]) -> str | None:
    try:
        return make_host(text)
    except HostError as error:
        findings.append(Diagnostic(Code.ZS0305, str(error), origin=origin))
        return None


def _plan_tls(ingress: Ingress, hosts: list[str], findings: list[Diagnostic]) -> dict[str, list[str]]:
    """Return the hosts that TLS is set for, with the names of their certificates (may be none)."""
    origin = ingress.meta.key.origin
    tls: dict[str, list[str]] = {}
    for entry in ingress.tls:
        if entry.secret and not NAME_PATTERN.fullmatch(entry.secret):
            message = f"secretName `{entry.secret}` is no name of a Secret of this namespace"
            code = Code.ZS0308 if "/" in entry.secret else Code.ZS0301
            cure = f"write the name of a Secret of namespace {ingress.meta.key.namespace}"
            place = origin.at(f"{entry.field}.secretName")
            findings.append(Diagnostic(code, message, origin=place, help=cure))
        for host in hosts:
            if not entry.hosts or any(covers(pattern.lower(), host) for pattern in entry.hosts):
                names = tls.setdefault(host, [])
                if entry.secret and NAME_PATTERN.fullmatch(entry.secret):
                    names.append(f"{ingress.meta.key.namespace}/{entry.secret}")
    return tls


def _request_certificates(ingress: Ingress, parts: Mapping[str, HostPart]) -> tuple[CertificateRequest, ...]:
    """Ask for each Secret once, for the names of its entries, else the hosts, and for other names of them."""
    namespace, origin = ingress.meta.key.namespace, ingress.meta.key.origin
    wanted: dict[str, tuple[list[str], list[Origin]]] = {}
    for entry in ingress.tls:
        if not entry.secret or not NAME_PATTERN.fullmatch(entry.secret):
            continue
        names, origins = wanted.setdefault(entry.secret, ([], []))
        origins.append(origin.at(f"{entry.field}.secretName"))
        certificate = f"{namespace}/{entry.secret}"
        names += [host for host, part in parts.items() if part.yields and certificate in part.certificates]
        for text in entry.hosts or [host for host, part in parts.items() if host and not part.yields]:
            try:
                names.append(make_host(text))
            except HostError:
                continue
    return tuple(
        CertificateRequest(namespace, secret, tuple(sorted({name for name in names if name})), tuple(origins))
        for secret, (names, origins) in sorted(wanted.items())
    )


def describe_conflict(winner: Meta, host: str, path: str) -> str:
    """Say whose a host and path are."""
    key = winner.key
    return (
        f"{host or 'any host'}{path} belongs to {key.namespace}/{key.name} ({key.kind.value}), which is older"
    )


def conflict(part: HostPart, winner: HostPart, host: str, path: str, place: str) -> Diagnostic:
    """Return the finding for a host and path that an older object has."""
    same = part.meta.key == winner.meta.key
    return Diagnostic(
        Code.ZS0304,
        f"{host or 'any host'}{path} is written twice; the first one is used"
        if same
        else describe_conflict(winner.meta, host, path),
        origin=part.meta.key.origin.at(place),
        severity=Severity.WARNING if same else Severity.ERROR,
        help="remove one of them" if same else "",
    )
