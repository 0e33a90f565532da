"""The build: from the store to a snapshot draft, host by host.

In: a store and the time. Out: `Build`: the draft, and for every object its diagnostics and hosts. Rule: only
what a change touches is built again: hosts of its object, hosts and certificates that name its Secret,
endpoints of its Service. What comes out is equal to what a new `Builder` returns.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.drafting import ResourceKey, SnapshotDraft, make_resource
from zeroserve_ir.model import CertificateRequest, EndpointAddress
from zeroserve_ir.program.clusters import EndpointsSource
from zeroserve_ir.sources import Origin

from zeroserve_operator.building.certificates import BuiltCertificate, build_certificate
from zeroserve_operator.building.claiming import Claims
from zeroserve_operator.building.collecting import ResourceCollection
from zeroserve_operator.building.edit_sizes import fit_host
from zeroserve_operator.building.endpoints import Problem, ServiceEndpoints, find_endpoints
from zeroserve_operator.building.planning import HostPart, Plan, plan_ingress, plan_route
from zeroserve_operator.building.plugins import BuiltPlugin, build_plugin, inputs_of, names_in
from zeroserve_operator.building.purges import PurgeIndex
from zeroserve_operator.building.site_bodies import read_body
from zeroserve_operator.building.streams import draft_stream
from zeroserve_operator.building.virtual_hosts import BuiltHost, build_host, secrets_of
from zeroserve_operator.drafting import DraftedHost, draft_endpoints, draft_settings
from zeroserve_operator.resources.ingresses import Ingress
from zeroserve_operator.resources.objects import Kind, ObjectKey
from zeroserve_operator.resources.plugins import ZeroservePlugin
from zeroserve_operator.resources.routes import ZeroserveRoute
from zeroserve_operator.settings import BuildSettings
from zeroserve_operator.store import Store
from zeroserve_operator.ticket_keys import derive_ticket_keys

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ObjectOutcome:
    """What became of one object."""

    diagnostics: tuple[Diagnostic, ...]
    hosts: tuple[str, ...]
    """Hosts under which it has at least one route."""
    generation: int
    resources: tuple[ResourceKey, ...] = ()
    """What its hosts are served from, for the acknowledgements of nodes."""


@dataclass(frozen=True, slots=True)
class Build:
    """All that a build gives, and what may differ from the one before."""

    draft: SnapshotDraft
    outcomes: Mapping[ObjectKey, ObjectOutcome]
    touched: frozenset[ResourceKey] = field(default=frozenset(), compare=False)
    touched_objects: frozenset[ObjectKey] = field(default=frozenset(), compare=False)


@dataclass(frozen=True, slots=True)
class HostEntry:
    """One host as it was built last, with the digests that it was built from."""

    fingerprint: tuple[Any, ...]
    built: BuiltHost
    sites: tuple[tree.Site, ...]
    drafted: DraftedHost
    findings: Mapping[ObjectKey, tuple[Diagnostic, ...]]
    secrets: tuple[ObjectKey, ...]
    plugins: tuple[str, ...] = ()
    """Names by which its routes call plugins."""


@dataclass(slots=True)
class _Touched:
    """What a build has to look at."""

    objects: set[ObjectKey] = field(default_factory=set)
    hosts: set[str] = field(default_factory=set)
    certificates: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Known:
    """What was built, by name; each index leads from an input to what depends on it."""

    plans: dict[ObjectKey, tuple[str, Plan]] = field(default_factory=dict)
    parts: dict[str, dict[ObjectKey, HostPart]] = field(default_factory=dict)
    hosts: dict[str, HostEntry] = field(default_factory=dict)
    hosts_of_secret: dict[ObjectKey, set[str]] = field(default_factory=dict)
    plugins: dict[ObjectKey, BuiltPlugin] = field(default_factory=dict)
    plugins_of_input: dict[ObjectKey, set[str]] = field(default_factory=dict)
    """Names of ZeroservePlugins of the same namespace."""
    hosts_of_plugin: dict[str, set[str]] = field(default_factory=dict)
    """By the plugin's name without its namespace."""
    purges: PurgeIndex = field(default_factory=PurgeIndex)
    requests: dict[str, dict[ObjectKey, CertificateRequest]] = field(default_factory=dict)
    certificates: dict[str, tuple[tuple[Any, ...], BuiltCertificate, pb.Resource | None]] = field(
        default_factory=dict
    )
    sources: dict[str, EndpointsSource] = field(default_factory=dict)
    hosts_of_source: dict[str, set[str]] = field(default_factory=dict)
    plugins_of_source: dict[str, set[str]] = field(default_factory=dict)
    """By the name of endpoints: namespace/name of ZeroservePlugins that may reach them."""
    sources_of_service: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    endpoints: dict[str, ServiceEndpoints] = field(default_factory=dict)
    outcomes: dict[ObjectKey, ObjectOutcome] = field(default_factory=dict)


class Builder:
    """Builds; remembers what it built from what."""

    def __init__(self, settings: BuildSettings, fallback: pb.Certificate | None = None) -> None:
        self.settings = settings
        self.fallback = fallback
        self._known = _Known()
        self._resources = ResourceCollection()
        self._store: Store | None = None
        self._claims: Claims | None = None
        self._day: date | None = None

    def build(self, store: Store, now: datetime) -> Build:
        """Build what changed since the last build of this store; all of another store."""
        changed: Iterable[ObjectKey] = store.take_changed()
        before = self._known
        whole = self._store is not store or self._claims != store.claims or self._day != now.date()
        if whole:
            self._known = _Known(certificates=before.certificates)
            self._resources.begin_anew()
            self._store, self._claims, self._day = store, store.claims, now.date()
            changed = {*store.views, *store.diagnostics}
        touched = _Touched(objects={*changed, *before.outcomes} if whole else set(changed))
        for key in sorted(changed, key=lambda key: key.order):
            self._take_object(key, store, touched)
        touched.objects |= self._known.purges.build(self._resources)
        for host in sorted(touched.hosts):
            self._take_host(host, store, before.hosts.get(host), touched)
        if whole:
            self._take_streams(touched)
        for name in sorted(touched.sources):
            self._take_source(name, store, touched)
        if self.settings.default_certificate and whole:
            touched.certificates.add(self.settings.default_certificate)
        for name in sorted(touched.certificates):
            self._take_certificate(name, store, now, touched)
        self._take_settings(now)
        for key in touched.objects:
            outcome = self._sum_up(key, store)
            if outcome is None:
                self._known.outcomes.pop(key, None)
            else:
                self._known.outcomes[key] = outcome
        draft, differing = self._resources.draft()
        return Build(draft, dict(self._known.outcomes), differing, frozenset(touched.objects))

    def sites(self) -> tuple[tree.Site, ...]:
        """Return the sites of the last build, by host."""
        hosts = self._known.hosts
        return tuple(site for host in sorted(hosts) for site in hosts[host].sites)

    def _take_object(self, key: ObjectKey, store: Store, touched: _Touched) -> None:
        known = self._known
        match key.kind:
            case Kind.INGRESS | Kind.ZEROSERVE_ROUTE:
                self._take_plan(key, store, touched)
            case Kind.ZEROSERVE_PLUGIN:
                self._take_plugin(key, store, touched)
            case Kind.CACHE_PURGE:
                known.purges.take(key, store.views.get(key))
            case Kind.CONFIG_MAP:
                self._take_inputs(key, store, touched)
            case Kind.PLUGIN_FILE:
                plugin = ObjectKey(Kind.ZEROSERVE_PLUGIN, key.namespace, key.name)
                self._take_plugin(plugin, store, touched)
            case Kind.SECRET:
                self._take_inputs(key, store, touched)
                touched.hosts |= known.hosts_of_secret.get(key, set())
                name = f"{key.namespace}/{key.name}"
                if name in known.requests or name == self.settings.default_certificate:
                    touched.certificates.add(name)
            case Kind.SERVICE:
                touched.sources |= known.sources_of_service.get((key.namespace, key.name), set())

    def _take_inputs(self, key: ObjectKey, store: Store, touched: _Touched) -> None:
        for name in sorted(self._known.plugins_of_input.get(key, ())):
            self._take_plugin(ObjectKey(Kind.ZEROSERVE_PLUGIN, key.namespace, name), store, touched)

    def _take_plugin(self, key: ObjectKey, store: Store, touched: _Touched) -> None:
        known, view = self._known, store.views.get(key)
        touched.objects.add(key)
        touched.hosts |= known.hosts_of_plugin.get(key.name, set())
        old = known.plugins.pop(key, None)
        new = build_plugin(view, store.views.get) if isinstance(view, ZeroservePlugin) else None
        for plugin, step in ((old, -1), (new, 1)):
            if plugin is not None:
                self._resources.count(plugin.resources, step)
                for needed in inputs_of(plugin.view):
                    _link(known.plugins_of_input, needed, key.name, step)
                for source in plugin.endpoints:
                    known.sources[source.name] = source
                    _link(known.plugins_of_source, source.name, plugin.name, step)
                    touched.sources.add(source.name)
        if new is not None:
            known.plugins[key] = new

    def _find_plugin(self, namespace: str, name: str) -> BuiltPlugin | None:
        """Return a plugin of a namespace."""
        return self._known.plugins.get(ObjectKey(Kind.ZEROSERVE_PLUGIN, namespace, name))

    def _take_plan(self, key: ObjectKey, store: Store, touched: _Touched) -> None:
        known, view = self._known, store.views.get(key)
        _, old = known.plans.pop(key, ("", None))
        if old is not None:
            for host in old.parts:
                del known.parts[host][key]
                touched.hosts.add(host)
            for request in old.requests:
                del known.requests[request.name][key]
                touched.certificates.add(request.name)
        claims = store.claims
        if isinstance(view, Ingress) and claims.claims_ingress(view):
            plan = plan_ingress(view, self.settings)
        elif isinstance(view, ZeroserveRoute) and claims.claims_route(view):
            plan = plan_route(view)
        else:
            return
        known.plans[key] = (view.meta.digest, plan)
        for host, part in plan.parts.items():
            known.parts.setdefault(host, {})[key] = part
            touched.hosts.add(host)
        for request in plan.requests:
            known.requests.setdefault(request.name, {})[key] = request
            touched.certificates.add(request.name)

    def _take_host(self, host: str, store: Store, before: HostEntry | None, touched: _Touched) -> None:
        """Build a host from its parts, oldest first, and move its resources and endpoints over."""
        known = self._known
        old = known.hosts.pop(host, None)
        parts = sorted(known.parts.get(host, {}).values(), key=lambda part: part.meta.age_order)
        new = self._build_host(host, parts, store, old or before) if parts else None
        for entry, step in ((old, -1), (new, 1)):
            if entry is None:
                continue
            self._resources.count(entry.drafted.resources, step)
            touched.objects.update(entry.findings, entry.built.served)
            for secret in entry.secrets:
                _link(known.hosts_of_secret, secret, host, step)
            for name in entry.plugins:
                _link(known.hosts_of_plugin, name.rpartition("/")[2], host, step)
            for source in entry.drafted.endpoints:
                known.sources[source.name] = source
                _link(known.hosts_of_source, source.name, host, step)
                touched.sources.add(source.name)
        touched.objects.update(part.meta.key for part in parts)
        if new is not None:
            known.hosts[host] = new

    def _take_streams(self, touched: _Touched) -> None:
        """Draft the ports of the settings, which never change; their Services do."""
        for stream in self.settings.streams:
            drafted = draft_stream(stream)
            self._resources.count(drafted.resources, 1)
            for source in drafted.endpoints:
                self._known.sources[source.name] = source
                _link(self._known.hosts_of_source, source.name, stream.name, 1)
                touched.sources.add(source.name)

    def _build_host(
        self, host: str, parts: list[HostPart], store: Store, before: HostEntry | None
    ) -> HostEntry:
        secrets = tuple(secrets_of(parts))
        views = [store.secret(key) for key in secrets]
        plugins = names_in(tuple(_plugin_users(parts)))
        fingerprint = (
            tuple((part.meta.key, part.meta.digest) for part in parts),
            tuple(view.meta.digest if view else "" for view in views),
            tuple(self._describe_plugin(name, parts) for name in plugins),
        )
        if before is not None and before.fingerprint == fingerprint:
            return before
        built = build_host(host, parts, store.secret, self.settings, self._find_plugin)
        if before is not None and before.built.host == built.host and built.host is not None:
            sites, drafted = before.sites, before.drafted
        else:
            try:
                fitted = fit_host(built, self.settings)
                built, sites, drafted = fitted.built, fitted.sites, fitted.drafted
            except Exception:
                # A defect of ours in one host must not take the others down: its last good version stays.
                logger.exception("defect while lowering host %r; its last version stays", host)
                if before is None:
                    raise
                built, sites, drafted = before.built, before.sites, before.drafted
        return HostEntry(fingerprint, built, sites, drafted, _by_object(built, drafted), secrets, plugins)

    def _describe_plugin(self, name: str, parts: list[HostPart]) -> tuple[Any, ...]:
        """Return what routes may come to depend on of a plugin, for each namespace that calls it."""
        spaces = sorted({part.meta.key.namespace for part in parts})
        space, slash, bare = name.partition("/")
        found = [
            self._find_plugin(space, bare) if slash else self._find_plugin(each, name) for each in spaces
        ]
        return tuple((one.view, one.module is not None, one.diagnostics) if one else None for one in found)

    def _take_source(self, name: str, store: Store, touched: _Touched) -> None:
        """Find the endpoints of a source; several upstreams add up."""
        known, source = self._known, self._known.sources[name]
        services = [(item.service.namespace, item.service.name) for item in source.upstreams if item.service]
        hosts, plugins = known.hosts_of_source.get(name, ()), known.plugins_of_source.get(name, ())
        users = bool(hosts or plugins)
        for service in services:
            _link(known.sources_of_service, service, name, 1 if users else -1)
        before = known.endpoints.pop(name, None)
        if not users:
            del known.sources[name]
            self._resources.put((int(pb.ENDPOINTS), name), None)
            return
        addresses: dict[EndpointAddress, None] = {}
        problems: list[Problem] = []
        for upstream in source.upstreams:
            if upstream.service is None:
                continue
            space, service_name = upstream.service.namespace, upstream.service.name
            found = find_endpoints(
                upstream.service,
                store.service(space, service_name),
                store.slices(space, service_name),
                self.settings,
            )
            addresses.update(dict.fromkeys(found.addresses))
            problems.extend(found.problems)
        after = known.endpoints[name] = ServiceEndpoints(tuple(addresses), tuple(problems))
        if before is None or before.addresses != after.addresses:
            self._resources.put((int(pb.ENDPOINTS), name), draft_endpoints(name, after.addresses))
        if before is None or before.problems != after.problems:
            for stream in self.settings.streams:
                if stream.name in hosts:
                    told = "; ".join(problem.message for problem in after.problems)
                    logger.warning("port %s: %s", stream.name, told or "its Service is there")
            for host in hosts:
                touched.objects.update(known.parts.get(host, ()))
            for plugin in plugins:
                touched.objects.add(ObjectKey(Kind.ZEROSERVE_PLUGIN, *plugin.split("/")))

    def _take_certificate(self, name: str, store: Store, now: datetime, touched: _Touched) -> None:
        """Build one certificate; whether it is about to expire is asked once a day."""
        known, key = self._known, (int(pb.CERTIFICATE), name)
        requests = known.requests.get(name, {})
        if not requests and name != self.settings.default_certificate:
            known.requests.pop(name, None)
            known.certificates.pop(name, None)
            self._resources.put(key, None)
            return
        namespace, _, secret_name = name.partition("/")
        secret = store.secret(ObjectKey(Kind.SECRET, namespace, secret_name))
        origins = sorted({origin for item in requests.values() for origin in item.origins}, key=str)
        hosts = sorted({host for item in requests.values() for host in item.hosts})
        request = CertificateRequest(namespace, secret_name, tuple(hosts), tuple(origins))
        fingerprint = (request, request.origins, secret.meta.digest if secret else "", now.date())
        entry = known.certificates.get(name)
        if entry is None or entry[0] != fingerprint:
            built = build_certificate(request, secret, now)
            resource = make_resource(built.message) if built.message is not None else None
            entry = known.certificates[name] = (fingerprint, built, resource)
        self._resources.put(key, entry[2])
        touched.objects.update(requests)

    def _take_settings(self, now: datetime) -> None:
        """Name the default certificate: the one that is set where it can be served, else the fallback."""
        name = self.settings.default_certificate
        entry = self._known.certificates.get(name)
        default = name if entry is not None and entry[2] is not None else ""
        if not default and self.fallback is not None:
            default = self.fallback.name
            resource = make_resource(self.fallback)
            self._resources.put((int(resource.type), resource.name), resource)
        built = entry[1].message if entry is not None else None
        keys = derive_ticket_keys(built.key, now.date()) if built is not None else ()
        for resource in draft_settings(self.settings, default, keys):
            self._resources.put((int(resource.type), resource.name), resource)

    def _sum_up(self, key: ObjectKey, store: Store) -> ObjectOutcome | None:
        """Return what became of an object; None of one that is not ours and has no fault."""
        known = self._known
        _, plan = known.plans.get(key, ("", None))
        told = store.diagnostics.get(key, ())
        plugin = known.plugins.get(key)
        if plugin is not None:
            names = tuple((int(item.type), item.name) for item in plugin.resources)
            generation = plugin.view.meta.generation
            about_services = self._tell_user(key, plugin.users)
            return ObjectOutcome((*told, *plugin.diagnostics, *about_services), (), generation, names)
        purge = known.purges.find(key)
        if purge is not None:
            generation = store.views[key].meta.generation
            return ObjectOutcome(told, (), generation, ((int(purge.type), purge.name),))
        if plan is None:
            watched = key.kind in (Kind.INGRESS, Kind.ZEROSERVE_ROUTE) and key in store.views
            return ObjectOutcome(told, (), 0) if told and not watched else None
        found: dict[Diagnostic, None] = dict.fromkeys([*told, *plan.diagnostics])
        served: list[str] = []
        resources: list[ResourceKey] = []
        for host in sorted(plan.parts):
            entry = known.hosts[host]
            found.update(dict.fromkeys(entry.findings.get(key, ())))
            found.update(dict.fromkeys(self._tell_user(key, entry.built.users)))
            if key in entry.built.served:
                served.append(host)
                resources += [
                    (int(item.type), item.name)
                    for item in entry.drafted.resources
                    if item.type in (pb.VIRTUAL_HOST, pb.PROGRAM)
                ]
        for request in plan.requests:
            for item in known.certificates[request.name][1].diagnostics:
                if item.origin is not None and _key_of(item) == key:
                    found[item] = None
        generation = store.views[key].meta.generation
        return ObjectOutcome(tuple(found), tuple(served), generation, tuple(resources))

    def _tell_user(
        self, key: ObjectKey, users: Iterable[tuple[tree.ServiceReference, Origin]]
    ) -> Iterable[Diagnostic]:
        """Yield what is wrong with the Services that an object names."""
        for reference, origin in users:
            if (origin.namespace, origin.name, origin.kind) != (key.namespace, key.name, key.kind.value):
                continue
            found = self._known.endpoints.get(f"{reference.namespace}/{reference.name}:{reference.port}")
            for item in found.problems if found else ():
                yield Diagnostic(
                    item.code, item.message, origin=origin, help=item.help, severity=item.severity
                )


def _plugin_users(parts: Iterable[HostPart]) -> Iterator[object]:
    """Yield what may call plugins: routes of Caddyfiles, and what annotations attach."""
    for part in parts:
        if part.route is not None:
            body = read_body(part.route)
            yield body.routes, body.errors
        yield part.policy.plugins


def _link(index: dict[Any, set[str]], key: Any, name: str, step: int) -> None:
    if step > 0:
        index.setdefault(key, set()).add(name)
    elif key in index:
        index[key].discard(name)
        if not index[key]:
            del index[key]


def _by_object(built: BuiltHost, drafted: DraftedHost) -> dict[ObjectKey, tuple[Diagnostic, ...]]:
    """Sort a host's findings by object; what is wrong with all of it is told to each."""
    found: dict[ObjectKey, list[Diagnostic]] = {}
    for item in built.diagnostics:
        key = _key_of(item)
        if key is not None:
            found.setdefault(key, []).append(item)
    for origin in built.host.origins if built.host else ():
        key = ObjectKey(Kind(origin.kind), origin.namespace, origin.name)
        if drafted.diagnostics:
            found.setdefault(key, []).extend(drafted.diagnostics)
    return {key: tuple(items) for key, items in found.items()}


def _key_of(item: Diagnostic) -> ObjectKey | None:
    origin = item.origin or item.span.origin
    return ObjectKey(Kind(origin.kind), origin.namespace, origin.name) if origin else None
