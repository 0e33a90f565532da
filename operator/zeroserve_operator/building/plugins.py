"""Plugins: ZeroservePlugins to resources, and the calls of routes to them.

In: a ZeroservePlugin with the ConfigMap and Secrets that it names; the routes of a ZeroserveRoute. Out:
`BuiltPlugin`; routes whose calls name resources. The rule: files are read in a process without rights; a call
that cannot be resolved stays in the route under a name that no plugin has, and answers 500.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.drafting import make_resource
from zeroserve_ir.plugins.attaching import expand_attachment, list_callable, list_hooks, replace_calls
from zeroserve_ir.plugins.faults import PluginError
from zeroserve_ir.plugins.granting import (
    NO_CAPABILITY,
    GrantedSecret,
    GrantedUpstream,
    Grants,
    draft_plugin,
    find_needs,
    name_capabilities,
)
from zeroserve_ir.plugins.modules import Hook, PluginFunction, PluginModule
from zeroserve_ir.plugins.reading import read_confined
from zeroserve_ir.program import abi
from zeroserve_ir.program.clusters import EndpointsSource, build_cluster, name_endpoints
from zeroserve_ir.sources import NOWHERE, Origin, Span

from zeroserve_operator.building.schemas import find_schema_fault, judge_config
from zeroserve_operator.rendering_routes import make_upstream
from zeroserve_operator.resources.objects import Kind, ObjectKey
from zeroserve_operator.resources.plugins import (
    ArtifactSource,
    ConfigMap,
    PluginFile,
    UpstreamGrant,
    ZeroservePlugin,
)
from zeroserve_operator.resources.secrets import Secret

CACHED_FILES_MAX = 64
"""Files, of a megabyte at most, whose modules are kept: what did not change is not read again."""
FIELD_FILE = "spec.source"
FIELD_ARTIFACT = "spec.source.oci.reference"

Value = TypeVar("Value")
Call = tree.CallPlugin | tree.AttachPlugin
FindPlugin = Callable[[str, str], "BuiltPlugin | None"]
"""By namespace and name."""


@dataclass(frozen=True, slots=True)
class BuiltPlugin:
    """What became of one ZeroservePlugin; without a module nothing of it is served."""

    view: ZeroservePlugin
    module: PluginModule | None
    resources: tuple[pb.Resource, ...]
    diagnostics: tuple[Diagnostic, ...]
    endpoints: tuple[EndpointsSource, ...] = ()
    users: tuple[tuple[tree.ServiceReference, Origin], ...] = ()
    """Services that it may reach, and the fields that name them."""

    @property
    def name(self) -> str:
        """Name of its resource."""
        key = self.view.meta.key
        return f"{key.namespace}/{key.name}"


def inputs_of(view: ZeroservePlugin) -> list[ObjectKey]:
    """Return the objects that a plugin names."""
    space = view.meta.key.namespace
    named = [ObjectKey(Kind.SECRET, space, grant.secret) for grant in view.secrets]
    if view.artifact is not None:
        of_artifact = (view.artifact.key_secret[0], view.artifact.pull_secret)
        named += [ObjectKey(Kind.SECRET, space, name) for name in of_artifact if name]
    if view.config_map[0]:
        named.append(ObjectKey(Kind.CONFIG_MAP, space, view.config_map[0]))
    return named


def build_plugin(view: ZeroservePlugin, find: Callable[[ObjectKey], object | None]) -> BuiltPlugin:
    """Load the file and gather the grants."""
    key, findings = view.meta.key, list[Diagnostic]()
    content = _find_file(view, find, findings)
    module = _load(content, key.origin.at(FIELD_FILE), findings) if content is not None else None
    secrets = tuple(_find_secrets(view, find, findings))
    if fault := find_schema_fault(view.config_schema):
        findings.append(Diagnostic(Code.ZS0311, fault, origin=key.origin.at("spec.configSchema")))
    if module is not None:
        _check_exports(view, module, findings)
        missing = find_needs(module) & ~view.capabilities
        if missing != NO_CAPABILITY:
            names = ", ".join(name_capabilities(missing))
            message = f"the code calls helpers that need {names}, which is not granted"
            cure = "grant it in spec.capabilities, if you trust the plugin with it"
            findings.append(
                Diagnostic(Code.ZS0310, message, origin=key.origin.at("spec.capabilities"), help=cure)
            )
    if module is None or any(item.severity is Severity.ERROR for item in findings):
        return BuiltPlugin(view, None, (), tuple(findings))
    upstreams = dict(list_upstreams(view))
    clusters = {name: build_cluster(tree.ReverseProxy((upstream,))) for name, upstream in upstreams.items()}
    grants = Grants(
        capabilities=view.capabilities,
        fuel=view.fuel,
        fail_open=view.fail_open,
        values_max=view.values_max,
        value_bytes_max=view.value_bytes_max,
        body_bytes_max=view.body_bytes_max,
        secrets=secrets,
        upstreams=tuple(
            GrantedUpstream(grant.name, clusters[grant.name].name, grant.host or _host_of(view, grant))
            for grant in view.upstreams
        ),
        fetch_timeout_ms=view.fetch_timeout_ms,
    )
    resources = draft_plugin(f"{key.namespace}/{key.name}", key.namespace, module, grants)
    return BuiltPlugin(
        view,
        module,
        (*resources, *map(make_resource, clusters.values())),
        tuple(findings),
        tuple(name_endpoints((upstream,)) for upstream in upstreams.values()),
        tuple(
            (upstream.service, key.origin.at(f"{grant.field}.service"))
            for grant, upstream in zip(view.upstreams, upstreams.values(), strict=True)
            if upstream.service is not None
        ),
    )


def list_upstreams(view: ZeroservePlugin) -> tuple[tuple[str, tree.Upstream], ...]:
    """Return the upstreams of a plugin by its names for them."""
    space = view.meta.key.namespace
    return tuple(
        (grant.name, make_upstream(tree.ServiceReference(space, grant.service, grant.port)))
        for grant in view.upstreams
    )


def find_calls(value: object) -> Iterator[Call]:
    """Yield the calls and attachments in routes, at any depth."""
    yield from (call for call, _ in _find_placed(value, NOWHERE))


def _find_placed(value: object, span: Span) -> Iterator[tuple[Call, Span]]:
    """Yield calls with the place of the route that they stand in."""
    if isinstance(value, Call):
        yield value, span
    elif isinstance(value, tuple):
        for item in value:
            yield from _find_placed(item, span)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = value.span if isinstance(value, tree.Route) and value.span.line else span
        for field in dataclasses.fields(value):
            yield from _find_placed(getattr(value, field.name), inner)


def resolve_calls(value: Value, namespace: str, find: FindPlugin) -> Value:
    """Return routes whose calls name the resources of plugins."""
    return replace_calls(value, lambda call: _resolve(call, namespace, find))


def check_calls(value: object, namespace: str, origin: Origin, find: FindPlugin) -> Iterator[Diagnostic]:
    """Yield what is wrong with the calls of routes: no such plugin or function, a bad configuration."""
    placed: dict[Call, Span] = {}
    for call, span in _find_placed(value, NOWHERE):
        placed.setdefault(call, span)
    for call, span in placed.items():
        found = _judge(call, namespace, find)
        if found is not None:
            code, message, cure = found
            yield Diagnostic(code, f"{_print(call)}: {message}", span, origin=origin, help=cure)


def _judge(call: Call, namespace: str, find: FindPlugin) -> tuple[Code, str, str] | None:
    """Return code, message and cure of what is wrong with a call."""
    plugin = _find(call.plugin, namespace, find)
    if plugin is None:
        owner, _, name = call.plugin.rpartition("/")
        cure = f"create ZeroservePlugin {name} in {owner or namespace}"
        cure += " with `shared: true`" if owner else ", or write NAMESPACE/NAME of a shared one"
        return Code.ZS0309, "there is no such plugin", cure
    if plugin.module is None:
        return (
            Code.ZS0309,
            "the plugin cannot be served",
            f"see the status of ZeroservePlugin {plugin.name}",
        )
    if lack := _judge_function(plugin, call):
        return Code.ZS0309, *lack
    if found := judge_config(plugin.view.config_schema, call.config):
        return Code.ZS0311, found, f"see spec.configSchema of ZeroservePlugin {plugin.name}"
    return None


def names_in(value: object) -> tuple[str, ...]:
    """Return the names by which routes call plugins, sorted."""
    return tuple(sorted({call.plugin for call in find_calls(value)}))


def _resolve(call: Call, namespace: str, find: FindPlugin) -> tree.CallPlugin | tree.Subroute:
    plugin = _find(call.plugin, namespace, find)
    # A name with two slashes is no resource's: such a call fails closed.
    if plugin is None or _judge(call, namespace, find) is not None:
        refused = f"{namespace}/{call.plugin}/refused"
        if isinstance(call, tree.AttachPlugin):
            return expand_attachment(call, refused, ())
        return dataclasses.replace(call, plugin=refused)
    may_proxy = abi.Capability.PROXY in plugin.view.capabilities
    upstreams = list_upstreams(plugin.view) if may_proxy else ()
    if isinstance(call, tree.AttachPlugin):
        return expand_attachment(call, plugin.name, _list_functions(plugin), upstreams)
    return dataclasses.replace(call, plugin=plugin.name, upstreams=upstreams)


def _host_of(view: ZeroservePlugin, grant: UpstreamGrant) -> str:
    return f"{grant.service}.{view.meta.key.namespace}.svc"


def _print(call: Call) -> str:
    if isinstance(call, tree.AttachPlugin):
        return f"zeroserve_plugin {call.plugin}"
    return f"zeroserve_call {call.plugin} {call.function}"


def _judge_function(plugin: BuiltPlugin, call: Call) -> tuple[str, str] | None:
    """Return message and cure where a plugin has no such function, or no hooks where it is attached."""
    functions = _list_functions(plugin)
    if isinstance(call, tree.AttachPlugin):
        known = ", ".join(function.name for function in functions)
        return (
            None
            if list_hooks(functions)
            else ("the plugin has no request or response hook", f"it has {known}")
        )
    hook = next((one.hook for one in functions if one.name == call.function), None)
    if hook is None:
        return (
            "the plugin has no such function",
            f"it has {', '.join(list_callable(functions)) or 'hooks alone'}",
        )
    if hook is not Hook.FUNCTION:
        cure = f"write zeroserve_plugin {call.plugin}, which runs its hooks"
        return f"this is a {hook.value} hook, which no route calls", cure
    return None


def _find(named: str, namespace: str, find: FindPlugin) -> BuiltPlugin | None:
    """Find a plugin of the namespace, or a shared one of the namespace that is named.

    Who shares a plugin must not come in the place of others' plugins of that name.
    """
    space, slash, name = named.partition("/")
    if slash:
        plugin = find(space, name)
        return plugin if plugin is not None and (plugin.view.shared or space == namespace) else None
    return find(namespace, named)


def _list_functions(plugin: BuiltPlugin) -> tuple[PluginFunction, ...]:
    exported, offered = (plugin.module.functions if plugin.module else ()), plugin.view.functions
    return tuple(each for each in exported if not offered or each.name in offered)


def _find_file(
    view: ZeroservePlugin, find: Callable[[ObjectKey], object | None], findings: list[Diagnostic]
) -> bytes | None:
    name, key = view.config_map
    if view.artifact is not None:
        origin = view.meta.key.origin.at(FIELD_ARTIFACT)
        pulled = find(ObjectKey(Kind.PLUGIN_FILE, view.meta.key.namespace, view.meta.key.name))
        return _take_pulled(view.artifact, pulled, origin, findings)
    if not name:
        return view.inline
    config_map = find(ObjectKey(Kind.CONFIG_MAP, view.meta.key.namespace, name))
    content = config_map.get(key) if isinstance(config_map, ConfigMap) else None
    if content is None:
        missing = f"key {key!r}" if isinstance(config_map, ConfigMap) else "the ConfigMap"
        origin = view.meta.key.origin.at(f"{FIELD_FILE}.configMapKeyRef")
        message = (
            f"{missing} of ConfigMap {name} is not there" if config_map else f"ConfigMap {name} is not there"
        )
        findings.append(
            Diagnostic(Code.ZS0501, message, origin=origin, help="kubectl create configmap --from-file")
        )
    return content


def _take_pulled(
    wanted: ArtifactSource, pulled: object | None, origin: Origin, findings: list[Diagnostic]
) -> bytes | None:
    """Return the file of an artefact; the former one where only its version differs, with a warning."""
    if not isinstance(pulled, PluginFile) or not wanted.is_successor_of(pulled.source):
        message = f"{wanted.reference} is not here yet"
        cure = "the operator pulls it; `zeroserve dev` does not: give it inline there"
        findings.append(Diagnostic(Code.ZS0312, message, origin=origin, help=cure))
        return None
    if pulled.digest == wanted.reference.digest:
        return pulled.content
    fault = pulled.fault if pulled.source == wanted else None
    if pulled.digest:
        why = f": {fault.message}" if fault else ""
        message = f"{pulled.digest} serves until {wanted.reference} is here{why}"
        code, cure = (fault.code, fault.help) if fault else (Code.ZS0312, "")
        findings.append(Diagnostic(code, message, origin=origin, help=cure, severity=Severity.WARNING))
        return pulled.content
    message = f"{wanted.reference} is not here yet"
    findings.append(fault or Diagnostic(Code.ZS0312, message, origin=origin))
    return None


def _load(content: bytes, origin: Origin, findings: list[Diagnostic]) -> PluginModule | None:
    outcome = _read(content)
    if isinstance(outcome, PluginModule):
        return outcome
    findings.append(outcome.diagnose(origin=origin))
    return None


@lru_cache(CACHED_FILES_MAX)
def _read(content: bytes) -> PluginModule | PluginError:
    try:
        return read_confined(content)
    except PluginError as error:
        return error


def _find_secrets(
    view: ZeroservePlugin, find: Callable[[ObjectKey], object | None], findings: list[Diagnostic]
) -> Iterator[GrantedSecret]:
    for grant in view.secrets:
        secret = find(ObjectKey(Kind.SECRET, view.meta.key.namespace, grant.secret))
        value = secret.get(grant.key) if isinstance(secret, Secret) else None
        if value is None:
            what = f"key {grant.key!r} of Secret" if isinstance(secret, Secret) else "Secret"
            origin = view.meta.key.origin.at(grant.field)
            findings.append(Diagnostic(Code.ZS0501, f"{what} {grant.secret} is not there", origin=origin))
        else:
            yield GrantedSecret(grant.name, value)


def _check_exports(view: ZeroservePlugin, module: PluginModule, findings: list[Diagnostic]) -> None:
    exported = {each.name for each in module.functions}
    for index, name in enumerate(view.functions):
        if name not in exported:
            origin = view.meta.key.origin.at(f"spec.functions[{index}]")
            cure = f"the file exports {', '.join(sorted(exported))}"
            message = f"the file has no function {name!r}"
            findings.append(Diagnostic(Code.ZS0309, message, origin=origin, help=cure))
