"""The store: the objects known now.

In: watch events and manifests, as raw objects. Out: views by kind, and for each change whether it asks for
a rebuild, for new endpoints only, or for nothing. Rule: a change of a field that is not read asks for
nothing, nor does an object that nobody refers to. The build process keeps an equal store, fed by `Change`s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from zeroserve_ir.diagnostics import Diagnostic

from zeroserve_operator.annotations.names import PREFIX
from zeroserve_operator.annotations.service_names import find_services_named
from zeroserve_operator.building.certificates import KeyPairError, read_key_pair
from zeroserve_operator.building.claiming import Claims, find_claims
from zeroserve_operator.building.plugins import inputs_of
from zeroserve_operator.resources.ingresses import Ingress, IngressClass
from zeroserve_operator.resources.objects import Kind, ObjectKey
from zeroserve_operator.resources.parsing import View, parse_object
from zeroserve_operator.resources.plugins import ArtifactSource, ZeroservePlugin
from zeroserve_operator.resources.purges import CachePurge
from zeroserve_operator.resources.routes import ZeroserveRoute
from zeroserve_operator.resources.secrets import TLS_TYPE, Secret
from zeroserve_operator.resources.services import EndpointSlice, Service
from zeroserve_operator.settings import BuildSettings

AUTH_SECRETS = (f"{PREFIX}auth-secret", f"{PREFIX}auth-tls-secret", f"{PREFIX}proxy-ssl-secret")


class Effect(IntEnum):
    """What a change asks for; the larger one includes the smaller."""

    NOTHING = 0
    ENDPOINTS = 1
    REBUILD = 2


@dataclass(frozen=True, slots=True)
class Change:
    """One object as it is now, parsed; without a view it is gone, or nothing of it can be used."""

    key: ObjectKey
    view: View | None
    diagnostics: tuple[Diagnostic, ...] = ()


class Store:
    """The objects known now, with the indexes that building needs."""

    def __init__(self, settings: BuildSettings) -> None:
        self.settings = settings
        self.views: dict[ObjectKey, View] = {}
        self.diagnostics: dict[ObjectKey, tuple[Diagnostic, ...]] = {}
        self._by_kind: dict[Kind, dict[ObjectKey, View]] = {kind: {} for kind in Kind}
        self._slices: dict[tuple[str, str], dict[ObjectKey, EndpointSlice]] = {}
        # Services of the settings are named for good, whoever else names them.
        self._services_named = Counter(settings.services)
        self._secrets_named: Counter[tuple[str, str]] = Counter()
        self._accounts_named: Counter[tuple[str, str]] = Counter()
        self._plugins_named: Counter[ObjectKey] = Counter()
        self._claims: Claims | None = None
        self._changed: set[ObjectKey] = set()

    def put(self, key: ObjectKey, raw: Mapping[str, Any]) -> tuple[Change, Effect]:
        """Take an object as it is now."""
        parsed = parse_object(key, raw)
        change = Change(key, parsed.view, parsed.diagnostics)
        return change, self.apply(change)

    def remove(self, key: ObjectKey) -> tuple[Change, Effect]:
        """Forget an object."""
        change = Change(key, None)
        return change, self.apply(change)

    def apply(self, change: Change) -> Effect:
        """Take a parsed change; tell what it asks for."""
        key, new, old = change.key, change.view, self.views.get(change.key)
        self._changed.add(key)
        told = self.diagnostics.get(key, ())
        if change.diagnostics:
            self.diagnostics[key] = change.diagnostics
        else:
            self.diagnostics.pop(key, None)
        if isinstance(new, Secret) and isinstance(old, Secret):
            new = _choose_secret(old, new)
        if new is None and old is None:
            return Effect.REBUILD if told != change.diagnostics else Effect.NOTHING
        claimed_before = old is not None and self._is_claimed(old)
        self._replace(key, old, new)
        if old is not None and new is not None and old.meta.digest == new.meta.digest:
            return Effect.REBUILD if told != change.diagnostics and claimed_before else Effect.NOTHING
        return self._judge(key, old, new, claimed_before)

    def take_changed(self) -> set[ObjectKey]:
        """Return the objects that were taken in since the last call; a slice shows as its Service."""
        changed, self._changed = self._changed, set()
        return changed

    def all(self) -> Iterator[Change]:
        """Yield every object known, as changes that fill an empty store."""
        for key, view in self.views.items():
            yield Change(key, view, self.diagnostics.get(key, ()))
        for key, found in self.diagnostics.items():
            if key not in self.views:
                yield Change(key, None, found)

    @property
    def claims(self) -> Claims:
        """Which classes are ours."""
        if self._claims is None:
            classes = (view for view in self._by_kind[Kind.INGRESS_CLASS].values())
            self._claims = find_claims(
                (view for view in classes if isinstance(view, IngressClass)), self.settings
            )
        return self._claims

    def claimed(self) -> Iterator[Ingress | ZeroserveRoute]:
        """Yield the Ingresses and ZeroserveRoutes that are ours."""
        for view in self._by_kind[Kind.INGRESS].values():
            if isinstance(view, Ingress) and self.claims.claims_ingress(view):
                yield view
        for view in self._by_kind[Kind.ZEROSERVE_ROUTE].values():
            if isinstance(view, ZeroserveRoute) and self.claims.claims_route(view):
                yield view

    def service(self, namespace: str, name: str) -> Service | None:
        """Return a Service."""
        view = self.views.get(ObjectKey(Kind.SERVICE, namespace, name))
        return view if isinstance(view, Service) else None

    def slices(self, namespace: str, service: str) -> list[EndpointSlice]:
        """Return the EndpointSlices of a Service, by name."""
        found = self._slices.get((namespace, service), {})
        return [found[key] for key in sorted(found, key=lambda key: key.name)]

    def secret(self, key: ObjectKey) -> Secret | None:
        """Return a Secret."""
        view = self.views.get(key)
        return view if isinstance(view, Secret) else None

    def artifacts_named(self) -> dict[ObjectKey, ArtifactSource]:
        """Return what ZeroservePlugins want of registries."""
        plugins = self._by_kind[Kind.ZEROSERVE_PLUGIN]
        return {
            key: view.artifact
            for key, view in plugins.items()
            if isinstance(view, ZeroservePlugin) and view.artifact is not None
        }

    def purges(self) -> list[CachePurge]:
        """Return the ZeroserveCachePurges."""
        return [view for view in self._by_kind[Kind.CACHE_PURGE].values() if isinstance(view, CachePurge)]

    def secrets_named(self) -> set[ObjectKey]:
        """Return the Secrets, and the ConfigMaps of plugins, that claimed or unclaimed objects refer to."""
        return _named(self._secrets_named) | self._inputs_named()

    def accounts_named(self) -> set[ObjectKey]:
        """Return those that hold accounts or clients' authorities, or what plugins consist of."""
        return _named(self._accounts_named) | self._inputs_named()

    def _inputs_named(self) -> set[ObjectKey]:
        return {key for key, count in self._plugins_named.items() if count > 0}

    def _replace(self, key: ObjectKey, old: View | None, new: View | None) -> None:
        if old is not None:
            self._index(old, -1)
            del self.views[key], self._by_kind[key.kind][key]
        if new is not None:
            self.views[key] = self._by_kind[key.kind][key] = new
            self._index(new, 1)
        if key.kind is Kind.INGRESS_CLASS:
            self._claims = None

    def _index(self, view: View, step: int) -> None:
        namespace = view.meta.key.namespace
        if isinstance(view, EndpointSlice):
            self._changed.add(ObjectKey(Kind.SERVICE, namespace, view.service))
        match view:
            case EndpointSlice(service=service) if step > 0:
                self._slices.setdefault((namespace, service), {})[view.meta.key] = view
            case EndpointSlice(service=service):
                self._slices[namespace, service].pop(view.meta.key, None)
            case Ingress():
                for name in _services_of(view):
                    self._services_named[namespace, name] += step
                for secret in _secrets_of(view):
                    self._secrets_named[secret] += step
                for secret in _accounts_of(view):
                    self._accounts_named[secret] += step
            case ZeroservePlugin(upstreams=upstreams):
                for grant in upstreams:
                    self._services_named[namespace, grant.service] += step
                for named in inputs_of(view):
                    self._plugins_named[named] += step
            case ZeroserveRoute():
                # Its Services are known once its Caddyfile is read: any of the namespace may be one.
                self._services_named[namespace, ""] += step
                self._secrets_named[namespace, view.secret] += step

    def _is_claimed(self, view: View) -> bool:
        match view:
            case Ingress():
                return self.claims.claims_ingress(view)
            case ZeroserveRoute():
                return self.claims.claims_route(view)
        return False

    def _judge(self, key: ObjectKey, old: View | None, new: View | None, claimed_before: bool) -> Effect:
        views = [view for view in (old, new) if view is not None]
        match key.kind:
            case Kind.INGRESS | Kind.ZEROSERVE_ROUTE:
                claimed = claimed_before or any(self._is_claimed(view) for view in views)
                return Effect.REBUILD if claimed else Effect.NOTHING
            case Kind.INGRESS_CLASS | Kind.ZEROSERVE_PLUGIN | Kind.PLUGIN_FILE | Kind.CACHE_PURGE:
                return Effect.REBUILD
            case Kind.CONFIG_MAP:
                return Effect.REBUILD if self._plugins_named[key] > 0 else Effect.NOTHING
            case Kind.SECRET:
                default = self.settings.default_certificate == f"{key.namespace}/{key.name}"
                named = (
                    default
                    or self._secrets_named[key.namespace, key.name] > 0
                    or self._plugins_named[key] > 0
                )
                return Effect.REBUILD if named else Effect.NOTHING
        names = {view.service if isinstance(view, EndpointSlice) else key.name for view in views}
        named = any(self._services_named[key.namespace, name] > 0 for name in (*names, ""))
        return Effect.ENDPOINTS if named else Effect.NOTHING


def _choose_secret(old: Secret, new: Secret) -> Secret:
    """Keep a key pair that works while its successor does not: rotation must not end in a broken site."""
    if old.meta.digest == new.meta.digest or TLS_TYPE not in (old.type, new.type):
        return new
    try:
        read_key_pair(new)
    except KeyPairError:
        pass
    else:
        return new
    try:
        read_key_pair(old)
    except KeyPairError:
        return new
    return old


def _services_of(ingress: Ingress) -> set[str]:
    backends = [path.backend for rule in ingress.rules for path in rule.paths]
    named = {item.service for item in (*backends, ingress.default_backend) if item is not None}
    return named | find_services_named(ingress.meta)


def _secrets_of(ingress: Ingress) -> set[tuple[str, str]]:
    namespace = ingress.meta.key.namespace
    return {(namespace, entry.secret) for entry in ingress.tls if entry.secret} | _accounts_of(ingress)


def _accounts_of(ingress: Ingress) -> set[tuple[str, str]]:
    namespace = ingress.meta.key.namespace
    found = set()
    for key, text in ingress.meta.annotations:
        space, slash, name = text.strip().rpartition("/") if key in AUTH_SECRETS else ("", "", "")
        # Secrets of other namespaces are refused, so they are not read either.
        if name and (not slash or space == namespace):
            found.add((namespace, name))
    return found


def _named(counts: Counter[tuple[str, str]]) -> set[ObjectKey]:
    return {
        ObjectKey(Kind.SECRET, space, name) for (space, name), count in counts.items() if name and count > 0
    }
