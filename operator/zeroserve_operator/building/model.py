"""The build: from the store to a snapshot draft, host by host.

In: a store and the time. Out: `Build`: the draft, and for every object its diagnostics and hosts. Rule: a
`Builder` remembers each plan, host, certificate and drafted host by the digests of its inputs; what it
returns is equal to what a new one would return (tests/unit/operator/building proves it).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.drafting import ResourceKey, SnapshotDraft, make_resource
from zeroserve_ir.model import CertificateRequest, EndpointAddress
from zeroserve_ir.program.clusters import EndpointsSource
from zeroserve_ir.sources import Origin

from zeroserve_operator.building.certificates import BuiltCertificate, build_certificate
from zeroserve_operator.building.endpoints import Problem, ServiceEndpoints, find_endpoints
from zeroserve_operator.building.planning import HostPart, Plan, plan_ingress, plan_route
from zeroserve_operator.building.virtual_hosts import BuiltHost, build_host, secrets_of
from zeroserve_operator.drafting import DraftedHost, draft_endpoints, draft_host, draft_settings
from zeroserve_operator.rendering import render_host
from zeroserve_operator.resources.ingresses import Ingress
from zeroserve_operator.resources.objects import Kind, ObjectKey
from zeroserve_operator.resources.routes import ZeroserveRoute
from zeroserve_operator.settings import BuildSettings
from zeroserve_operator.store import Store

logger = logging.getLogger(__name__)

Diagnostics = Mapping[ObjectKey, tuple[Diagnostic, ...]]


@dataclass(frozen=True, slots=True)
class ObjectOutcome:
    """What became of one claimed object."""

    diagnostics: tuple[Diagnostic, ...]
    hosts: tuple[str, ...]
    """Hosts under which it has at least one route."""
    generation: int
    resources: tuple[ResourceKey, ...] = ()
    """What its hosts are served from, for the acknowledgements of nodes."""


@dataclass(frozen=True, slots=True)
class Build:
    """All that a build gives."""

    draft: SnapshotDraft
    outcomes: Mapping[ObjectKey, ObjectOutcome]
    sites: tuple[tree.Site, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class HostEntry:
    """One host as it was built last, with the digests that it was built from."""

    fingerprint: tuple[Any, ...]
    built: BuiltHost
    sites: tuple[tree.Site, ...]
    drafted: DraftedHost


class Builder:
    """Builds; remembers what it built from what."""

    def __init__(self, settings: BuildSettings, fallback: pb.Certificate | None = None) -> None:
        self.settings = settings
        self.fallback = fallback
        self._plans: dict[ObjectKey, tuple[str, Plan]] = {}
        self._hosts: dict[str, HostEntry] = {}
        self._certificates: dict[str, tuple[tuple[Any, ...], BuiltCertificate, pb.Resource | None]] = {}
        self._endpoints: dict[str, tuple[ServiceEndpoints, pb.Resource]] = {}

    def build(self, store: Store, now: datetime) -> Build:
        """Build everything that changed, and the draft."""
        claimed = {view.meta.key: view for view in store.claimed()}
        plans = {key: self._plan(view) for key, view in claimed.items()}
        parts: dict[str, list[HostPart]] = {}
        for plan in plans.values():
            for host, part in plan.parts.items():
                parts.setdefault(host, []).append(part)
        for found in parts.values():
            found.sort(key=lambda part: part.meta.age_order)
        self._hosts = {host: self._build_host(host, parts[host], store) for host in sorted(parts)}
        self._plans = {key: self._plans[key] for key in plans}
        certificates = self._build_certificates(plans, store, now)
        return self._finish(store, claimed, plans, certificates)

    def _plan(self, view: Ingress | ZeroserveRoute) -> Plan:
        key, digest = view.meta.key, view.meta.digest
        known = self._plans.get(key)
        if known is not None and known[0] == digest:
            return known[1]
        plan = plan_ingress(view, self.settings) if isinstance(view, Ingress) else plan_route(view)
        self._plans[key] = (digest, plan)
        return plan

    def _build_host(self, host: str, parts: list[HostPart], store: Store) -> HostEntry:
        secrets = [store.secret(key) for key in secrets_of(parts)]
        fingerprint = (
            tuple((part.meta.key, part.meta.digest) for part in parts),
            tuple(secret.meta.digest if secret else "" for secret in secrets),
        )
        known = self._hosts.get(host)
        if known is not None and known.fingerprint == fingerprint:
            return known
        built = build_host(host, parts, store.secret, self.settings)
        if known is not None and known.built.host == built.host:
            return HostEntry(fingerprint, built, known.sites, known.drafted)
        sites = render_host(built.host, self.settings) if built.host else ()
        try:
            drafted = draft_host(sites, self.settings)
        except Exception:
            # A defect of ours in one host must not take the others down: its last good version stays.
            logger.exception("defect while lowering host %r; its last version stays", host)
            if known is None:
                raise
            return HostEntry(fingerprint, known.built, known.sites, known.drafted)
        return HostEntry(fingerprint, built, sites, drafted)

    def _build_certificates(
        self, plans: Mapping[ObjectKey, Plan], store: Store, now: datetime
    ) -> dict[str, tuple[BuiltCertificate, pb.Resource | None]]:
        wanted: dict[str, list[CertificateRequest]] = {}
        for plan in plans.values():
            for request in plan.requests:
                wanted.setdefault(request.name, []).append(request)
        space, _, secret = self.settings.default_certificate.partition("/")
        if secret:
            wanted.setdefault(f"{space}/{secret}", []).append(CertificateRequest(space, secret, ()))
        found = {}
        for name in sorted(wanted):
            found[name] = self._build_certificate(name, wanted[name], store, now)
        self._certificates = {name: self._certificates[name] for name in found}
        return found

    def _build_certificate(
        self, name: str, requests: list[CertificateRequest], store: Store, now: datetime
    ) -> tuple[BuiltCertificate, pb.Resource | None]:
        """Build one certificate; whether it is about to expire is asked once a day."""
        namespace, _, secret_name = name.partition("/")
        secret = store.secret(ObjectKey(Kind.SECRET, namespace, secret_name))
        origins = sorted({origin for item in requests for origin in item.origins}, key=str)
        hosts = sorted({host for item in requests for host in item.hosts})
        request = CertificateRequest(namespace, secret_name, tuple(hosts), tuple(origins))
        fingerprint = (tuple(hosts), tuple(origins), secret.meta.digest if secret else "", now.date())
        known = self._certificates.get(name)
        if known is None or known[0] != fingerprint:
            built = build_certificate(request, secret, now)
            resource = make_resource(built.message) if built.message is not None else None
            known = self._certificates[name] = (fingerprint, built, resource)
        return known[1], known[2]

    def _find_endpoints(self, source: EndpointsSource, store: Store) -> tuple[ServiceEndpoints, pb.Resource]:
        """Find the endpoints of a source; several upstreams add up."""
        addresses: dict[EndpointAddress, None] = {}
        problems: list[Problem] = []
        for upstream in source.upstreams:
            if upstream.service is None:
                continue
            reference = upstream.service
            service = store.service(reference.namespace, reference.name)
            slices = store.slices(reference.namespace, reference.name)
            found = find_endpoints(reference, service, slices, self.settings)
            addresses.update(dict.fromkeys(found.addresses))
            problems.extend(found.problems)
        result = ServiceEndpoints(tuple(addresses), tuple(problems))
        known = self._endpoints.get(source.name)
        if known is not None and known[0].addresses == result.addresses:
            return result, known[1]
        return result, draft_endpoints(source.name, result.addresses)

    def _finish(
        self,
        store: Store,
        claimed: Mapping[ObjectKey, Ingress | ZeroserveRoute],
        plans: Mapping[ObjectKey, Plan],
        certificates: Mapping[str, tuple[BuiltCertificate, pb.Resource | None]],
    ) -> Build:
        findings = _Findings(store, plans)
        resources: list[pb.Resource] = []
        sources: dict[str, EndpointsSource] = {}
        for entry in self._hosts.values():
            resources.extend(entry.drafted.resources)
            sources.update({source.name: source for source in entry.drafted.endpoints})
            findings.add(entry.built.diagnostics)
            findings.add_for(entry.built.host.origins if entry.built.host else (), entry.drafted.diagnostics)
        self._endpoints = {name: self._find_endpoints(sources[name], store) for name in sorted(sources)}
        resources.extend(resource for _, resource in self._endpoints.values())
        findings.add(self._tell_users())
        default = self._choose_default(certificates)
        resources.extend(resource for _, resource in certificates.values() if resource is not None)
        if default == "" and self.fallback is not None:
            resources.append(make_resource(self.fallback))
            default = self.fallback.name
        for built, _ in certificates.values():
            findings.add(built.diagnostics)
        resources.extend(draft_settings(self.settings, default))
        sites = tuple(site for entry in self._hosts.values() for site in entry.sites)
        return Build(SnapshotDraft.of(resources), findings.outcomes(claimed, self._hosts), sites)

    def _tell_users(self) -> list[Diagnostic]:
        """Return what is wrong with Services, for every field that names one."""
        told = []
        for entry in self._hosts.values():
            for reference, origin in entry.built.users:
                name = f"{reference.namespace}/{reference.name}:{reference.port}"
                found = self._endpoints.get(name)
                for problem in found[0].problems if found else ():
                    told.append(
                        Diagnostic(
                            problem.code,
                            problem.message,
                            origin=origin,
                            help=problem.help,
                            severity=problem.severity,
                        )
                    )
        return told

    def _choose_default(self, certificates: Mapping[str, tuple[BuiltCertificate, pb.Resource | None]]) -> str:
        name = self.settings.default_certificate
        found = certificates.get(name)
        return name if found is not None and found[1] is not None else ""


class _Findings:
    """Diagnostics by object, each once, in the order of the build."""

    def __init__(self, store: Store, plans: Mapping[ObjectKey, Plan]) -> None:
        self.by_key: dict[ObjectKey, dict[Diagnostic, None]] = {}
        for key, plan in plans.items():
            self.add(store.diagnostics.get(key, ()))
            self.add(plan.diagnostics)
        for key, found in store.diagnostics.items():
            if key not in store.views or key.kind not in (Kind.INGRESS, Kind.ZEROSERVE_ROUTE):
                self.add(found)

    def add(self, diagnostics: tuple[Diagnostic, ...] | list[Diagnostic]) -> None:
        """Add diagnostics by their origins."""
        for item in diagnostics:
            origin = item.origin or item.span.origin
            if origin is not None:
                self._add_to(origin, item)

    def add_for(self, origins: tuple[Origin, ...], diagnostics: tuple[Diagnostic, ...]) -> None:
        """Add diagnostics of a whole host to each of its objects."""
        for origin in origins:
            for item in diagnostics:
                self._add_to(origin, item)

    def _add_to(self, origin: Origin, item: Diagnostic) -> None:
        key = ObjectKey(Kind(origin.kind), origin.namespace, origin.name)
        self.by_key.setdefault(key, {})[item] = None

    def outcomes(
        self, claimed: Mapping[ObjectKey, Ingress | ZeroserveRoute], hosts: Mapping[str, HostEntry]
    ) -> dict[ObjectKey, ObjectOutcome]:
        """Return what became of each object."""
        served: dict[ObjectKey, list[str]] = {}
        names: dict[ObjectKey, list[ResourceKey]] = {}
        for host, entry in hosts.items():
            for key in entry.built.served:
                served.setdefault(key, []).append(host)
                names.setdefault(key, []).extend(
                    (int(resource.type), resource.name)
                    for resource in entry.drafted.resources
                    if resource.type in (pb.VIRTUAL_HOST, pb.PROGRAM)
                )
        keys = sorted({*claimed, *self.by_key}, key=lambda key: key.order)
        return {
            key: ObjectOutcome(
                tuple(self.by_key.get(key, ())),
                tuple(served.get(key, ())),
                claimed[key].meta.generation if key in claimed else 0,
                tuple(names.get(key, ())),
            )
            for key in keys
        }


def has_errors(outcome: ObjectOutcome) -> bool:
    """Tell whether something of an object is withheld."""
    return any(item.severity is Severity.ERROR for item in outcome.diagnostics)
