"""Planning: which resources a node serves, of those it was given and those that served well before.

In: the wanted snapshot, the last good one, and what was refused. Out: the resources to serve and a refusal
for each that is not among them. Pure. Rules: a virtual host is served as wanted only when everything it
refers to is there; else at its last good version, with all that this one refers to; else it is denied, 503,
never left out (another host must not answer for it) and never open.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from google.protobuf.message import DecodeError
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.drafting import ResourceKey, make_resource

Resources = Mapping[ResourceKey, pb.Resource]
REFERENCES_SPARE = 100
"""Of versions that are gone: looked through when there are more of them than of those that are there."""


class References(NamedTuple):
    """What a resource needs to be served; a tuple, since one is made and looked up for every host."""

    needed: tuple[ResourceKey, ...] = ()
    constants_bytes: int = 0
    """Of a virtual host: how many it has. Of a program: how many it reads."""
    endpoints: str = ""
    """Of a cluster; it is served without them too."""
    malformed: bool = False


@dataclass(frozen=True, slots=True)
class _Closure:
    """All that a host without a fault needed, and in which version what decides about the rest."""

    keys: frozenset[ResourceKey]
    versions: tuple[tuple[ResourceKey, str], ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A wanted resource that is not served, by which version it came, and why."""

    key: ResourceKey
    version: str
    diagnostic: Diagnostic


@dataclass(frozen=True, slots=True)
class Plan:
    """What to serve."""

    resources: Resources
    refusals: tuple[Refusal, ...]
    """Without any, everything that is wanted is served as it is."""


class Planner:
    """Plans, remembering what each resource version refers to, and what each host without a fault needed.

    Hosts that refer to the same are judged once: of a hundred thousand few differ.
    """

    def __init__(self) -> None:
        self._references: dict[str, References] = {}
        self._alike: dict[References, References] = {}
        """One of each, which all versions that refer to the same have."""
        self._closures: dict[References, _Closure] = {}

    def plan(self, wanted: Resources, good: Resources, refused: Mapping[ResourceKey, Diagnostic]) -> Plan:
        """Return what to serve; `refused` are keys of `wanted` that verifier or engine did not take."""
        refusals = [Refusal(key, wanted[key].version, why) for key, why in refused.items() if key in wanted]
        serving = {key: resource for key, resource in wanted.items() if key not in refused}
        for key in refused.keys() & wanted.keys():
            former = good.get(key)
            if key[0] != pb.VIRTUAL_HOST and former is not None and former.version != wanted[key].version:
                serving[key] = former
        self._drop_plugins(wanted, serving, good, refusals)
        sound: set[References] = set()
        """Stays so: what is kept of the last good snapshot comes in addition."""
        for key, resource in wanted.items():
            if key[0] != pb.VIRTUAL_HOST:
                continue
            references, why = self._refer(resource), refused.get(key)
            if why is None:
                if references in sound:
                    continue
                known = self._is_known(references, serving, refused)
                why = None if known else self._find_fault(resource, serving, refused)
            if why is None:
                sound.add(references)
                if good and not known:
                    self._remember_closure(references, serving)
                continue
            if key not in refused:
                refusals.append(Refusal(key, resource.version, why))
            self._keep_former(key, resource, serving, good, why)
        self.forget(wanted, good)
        return Plan(serving, tuple(refusals))

    def find_needed(self, resource: pb.Resource) -> tuple[ResourceKey, ...]:
        """Return what a resource refers to and is not served without."""
        return self._refer(resource).needed

    def is_sound(self, host: pb.Resource, resources: Resources) -> bool:
        """Whether a virtual host can be served with these resources."""
        return self._find_fault(host, resources, {}) is None

    def depends(self, resource: pb.Resource, resources: Resources, keys: Collection[ResourceKey]) -> bool:
        """Whether a resource needs one of `keys`."""
        return any(key in keys for key in self._walk(self._refer(resource), resources))

    def _drop_plugins(
        self,
        wanted: Resources,
        serving: dict[ResourceKey, pb.Resource],
        good: Resources,
        refusals: list[Refusal],
    ) -> None:
        """Leave out plugins without a program; their calls answer 500, or the former version does."""
        for key in [key for key in serving if key[0] == pb.PLUGIN]:
            missing = [one for one in self._refer(serving[key]).needed if one not in serving]
            if not missing:
                continue
            former = good.get(key)
            resource = serving.pop(key)
            kind = pb.ResourceType.Name(pb.ResourceType.ValueType(missing[0][0])).lower()
            why = Diagnostic(Code.ZS0702, f"plugin {key[1]}: its {kind} is missing or refused")
            refusals.append(Refusal(key, resource.version, why))
            if former is None or former.version == resource.version:
                continue
            needed = {one: good[one] for one in self._refer(former).needed if one in good}
            if len(needed) == len(self._refer(former).needed):
                serving.update({one: good[one] for one in needed if one not in serving})
                serving[key] = former

    def _find_fault(
        self, host: pb.Resource, serving: Resources, refused: Mapping[ResourceKey, Diagnostic]
    ) -> Diagnostic | None:
        """Return why a virtual host cannot be served with these resources, None when it can."""
        references = self._refer(host)
        if references.malformed:
            return Diagnostic(Code.ZS0702, f"virtual host {host.name} is malformed")
        for key in self._walk(references, serving):
            if key in refused:
                why = refused[key]
                return Diagnostic(why.code, f"virtual host {host.name}: {why.message}", help=why.help)
            if key not in serving:
                kind = pb.ResourceType.Name(pb.ResourceType.ValueType(key[0])).lower()
                return Diagnostic(
                    Code.ZS0702, f"virtual host {host.name} refers to missing {kind} {key[1][:64]}"
                )
            if key[0] == pb.PROGRAM:
                needed = self._refer(serving[key]).constants_bytes
                if references.constants_bytes < needed:
                    return Diagnostic(
                        Code.ZS0702,
                        f"virtual host {host.name} has {references.constants_bytes} bytes of constants, "
                        f"its program reads {needed}",
                    )
        return None

    def _is_known(
        self, references: References, serving: Resources, refused: Mapping[ResourceKey, Diagnostic]
    ) -> bool:
        """Whether a host with these was without a fault before, and all that it needed is there as it was."""
        known = self._closures.get(references)
        return known is not None and _is_there(known, serving, refused)

    def _remember_closure(self, references: References, serving: Resources) -> None:
        """Planned again, a host is asked about again: what it needs is found once for all of a kind."""
        keys = frozenset(self._walk(references, serving))
        deciding = (key for key in keys if key[0] != pb.CLUSTER)
        versions = tuple((key, serving[key].version) for key in deciding)
        self._closures[references] = _Closure(keys, versions)

    def _keep_former(
        self,
        key: ResourceKey,
        wanted: pb.Resource,
        serving: dict[ResourceKey, pb.Resource],
        good: Resources,
        why: Diagnostic,
    ) -> None:
        former = good.get(key)
        if former is not None and former.version != wanted.version:
            closure = list(self._walk(self._refer(former), good, endpoints=True))
            # What the wanted snapshot holds under the same name wins.
            restored = {entry: good[entry] for entry in closure if entry in good and entry not in serving}
            if self._find_fault(former, ChainMap(serving, restored), {}) is None:
                serving.update(restored)
                serving[key] = former
                return
        serving[key] = make_resource(_deny(wanted, why))

    def _walk(
        self, references: References, resources: Resources, *, endpoints: bool = False
    ) -> Iterator[ResourceKey]:
        """Yield all that is needed, directly or by way of what `resources` holds; endpoints on demand."""
        for key in references.needed:
            yield key
            if key in resources:
                yield from self._walk(self._refer(resources[key]), resources, endpoints=endpoints)
        if endpoints and references.endpoints:
            yield int(pb.ENDPOINTS), references.endpoints

    def forget(self, *snapshots: Resources) -> None:
        """Let go of versions that nobody wants any more, now and then."""
        kept_max = REFERENCES_SPARE + 2 * sum(map(len, snapshots))
        if len(self._references) <= kept_max:
            return
        kept = {resource.version for snapshot in snapshots for resource in snapshot.values()}
        self._references = {version: one for version, one in self._references.items() if version in kept}
        self._alike = {one: one for one in self._references.values()}
        self._closures = {one: closure for one, closure in self._closures.items() if one in self._alike}

    def _refer(self, resource: pb.Resource) -> References:
        known = self._references.get(resource.version)
        if known is None:
            found = find_references(resource)
            known = self._references[resource.version] = self._alike.setdefault(found, found)
        return known


def _is_there(closure: _Closure, serving: Resources, refused: Mapping[ResourceKey, Diagnostic]) -> bool:
    return (
        serving.keys() >= closure.keys
        and closure.keys.isdisjoint(refused)
        and all(serving[key].version == version for key, version in closure.versions)
    )


def find_references(resource: pb.Resource) -> References:
    """Return what a resource needs: virtual host -> program, tables -> clusters. Endpoints may be absent."""
    try:
        if resource.type == pb.VIRTUAL_HOST:
            host = pb.VirtualHost.FromString(resource.payload)
            if host.deny:
                return References()
            tables = ((int(pb.TABLES), host.tables),) if host.tables else ()
            return References(((int(pb.PROGRAM), host.program), *tables), len(host.constants))
        if resource.type == pb.TABLES:
            tables_message = pb.Tables.FromString(resource.payload)
            names = dict.fromkeys(proxy.cluster for proxy in tables_message.proxies)
            return References(tuple((int(pb.CLUSTER), name) for name in names))
        if resource.type == pb.PLUGIN:
            plugin = pb.Plugin.FromString(resource.payload)
            clusters = dict.fromkeys(upstream.cluster for upstream in plugin.upstreams)
            needed = ((int(pb.PROGRAM), plugin.program), *((int(pb.CLUSTER), name) for name in clusters))
            return References(needed)
        if resource.type == pb.CLUSTER:
            return References(endpoints=pb.Cluster.FromString(resource.payload).endpoints)
        if resource.type == pb.PROGRAM:
            return References(constants_bytes=pb.Program.FromString(resource.payload).constants_bytes)
    except DecodeError:
        return References(malformed=True)
    return References()


def _deny(wanted: pb.Resource, why: Diagnostic) -> pb.VirtualHost:
    try:
        former = pb.VirtualHost.FromString(wanted.payload)
    except DecodeError:
        former = pb.VirtualHost()
    return pb.VirtualHost(
        name=wanted.name,
        hosts=former.hosts,
        listeners=former.listeners,
        marker=former.marker,
        deny=True,
        deny_reason=why.render_short(),
    )
