"""Plugins of a Caddyfile: the global option `plugins` to resources.

In: options, a reader of files. Out: resources of resources.proto by plugin, and findings. Who calls: drafting
of sites; `validate` wants the findings alone. Rule: a plugin that cannot be built is a finding of its own;
the option alone grants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.caddyfile.invoking import expand_named_routes
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.drafting import make_resource
from zeroserve_ir.plugins.assembling import assemble_module
from zeroserve_ir.plugins.attaching import expand_attachment, list_callable, list_hooks
from zeroserve_ir.plugins.faults import PluginError
from zeroserve_ir.plugins.granting import (
    CAPABILITIES,
    NO_CAPABILITY,
    GrantedSecret,
    GrantedUpstream,
    Grants,
    draft_plugin,
    find_needs,
    name_capabilities,
)
from zeroserve_ir.plugins.loading import load
from zeroserve_ir.plugins.modules import Hook, PluginFunction, PluginModule
from zeroserve_ir.program import abi
from zeroserve_ir.program.assembly import AssemblyTextError
from zeroserve_ir.program.clusters import EndpointsSource, build_cluster, name_endpoints
from zeroserve_ir.sources import Span

_ELF = b"\x7fELF"
_NUMBERS = ("fuel", "fail_open", "values_max", "value_bytes_max", "body_bytes_max", "fetch_timeout_ms")
ReadFile = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class DraftedPlugin:
    """What a snapshot holds for one plugin, and what routes may call of it."""

    functions: tuple[PluginFunction, ...]
    resources: tuple[pb.Resource, ...]
    endpoints: tuple[EndpointsSource, ...]


def load_any(content: bytes) -> PluginModule:
    """Load an ELF file, or assembly text; raises PluginError or AssemblyTextError."""
    return load(content) if content.startswith(_ELF) else assemble_module(content.decode(errors="replace"))


def list_plugins(options: tree.Options) -> Mapping[str, Mapping[str, Any]]:
    """Return the entries of the global option, by name."""
    found: Mapping[str, Mapping[str, Any]] = options.others.value().get("plugins", {})
    return found


def draft_plugins(
    options: tree.Options, read_file: ReadFile, warn: Callable[[Diagnostic], None]
) -> dict[str, DraftedPlugin]:
    """Return the plugins of the global option by name; each that cannot be built is a finding."""
    drafted: dict[str, DraftedPlugin] = {}
    spans = dict(options.plugin_spans)
    for name, entry in list_plugins(options).items():
        made = _draft(name, entry, read_file, warn, spans.get(name, options.others.span))
        if isinstance(made, Diagnostic):
            warn(made)
        else:
            drafted[name] = made
    return drafted


def _draft(
    name: str,
    entry: Mapping[str, Any],
    read_file: ReadFile,
    warn: Callable[[Diagnostic], None],
    span: Span,
) -> DraftedPlugin | Diagnostic:
    file = entry["file"]
    try:
        module = load_any(read_file(file))
    except OSError as error:
        message = f"plugin {name}: {file}: {error.strerror or error}"
        return Diagnostic(Code.ZS0111, message, span, help="check path and permissions")
    except PluginError as error:
        return error.diagnose(file)
    except AssemblyTextError as error:
        message = f"{file} is neither ELF nor assembly: {error}"
        return Diagnostic(Code.ZS0603, message, span, help="name the .o that `zeroserve plugin build` wrote")
    missing = find_needs(module) & ~read_capabilities(entry)
    if missing != NO_CAPABILITY:
        needed = " ".join(name_capabilities(missing))
        message = (
            f"plugin {name} calls helpers that need {needed}, which is not granted: such a call answers 500"
        )
        cure = f"write `allow {needed}` in its block, if you trust the plugin with it"
        warn(Diagnostic(Code.ZS0310, message, span, help=cure, severity=Severity.WARNING))
    proxies = {name: tree.ReverseProxy((upstream,)) for name, upstream in list_upstreams(entry)}
    clusters = {name: build_cluster(proxy, span) for name, proxy in proxies.items()}
    resources = draft_plugin(name, "", module, _read_grants(entry, clusters))
    return DraftedPlugin(
        module.functions,
        (*resources, *map(make_resource, clusters.values())),
        tuple(name_endpoints(proxy.upstreams) for proxy in proxies.values()),
    )


def _read_grants(entry: Mapping[str, Any], clusters: Mapping[str, pb.Cluster]) -> Grants:
    return Grants(
        read_capabilities(entry),
        **{name: entry[name] for name in _NUMBERS if name in entry},
        upstreams=tuple(GrantedUpstream(name, cluster.name) for name, cluster in clusters.items()),
        secrets=tuple(
            GrantedSecret(name, value.encode()) for name, value in entry.get("secrets", {}).items()
        ),
    )


def read_capabilities(entry: Mapping[str, Any]) -> abi.Capability:
    """Return what an entry allows."""
    capabilities = NO_CAPABILITY
    for name in entry.get("capabilities", ()):
        capabilities |= CAPABILITIES[name]
    return capabilities


def list_upstreams(entry: Mapping[str, Any]) -> tuple[tuple[str, tree.Upstream], ...]:
    """Return the upstreams of an entry, by the plugin's names for them."""
    return tuple((name, tree.Upstream(dial)) for name, dial in entry.get("upstreams", {}).items())


def resolve_plugin(
    handler: tree.CallPlugin | tree.AttachPlugin,
    entries: Mapping[str, Mapping[str, Any]],
    drafted: Mapping[str, DraftedPlugin],
    warn: Callable[[Diagnostic], None],
    span: Span,
) -> tree.CallPlugin | tree.Subroute:
    """Return a call that knows where its plugin may send requests to, or the calls that a plugin's hooks are.

    `entries` are those of the global option (`list_plugins`). What cannot be called is a finding, and stays:
    the engine answers 500 there.
    """
    known = drafted.get(handler.plugin)
    functions = known.functions if known is not None else ()
    entry = entries.get(handler.plugin, {})
    if handler.plugin not in entries:
        message = f"plugin {handler.plugin} is not in the global option plugins"
        cure = f"write plugins {{ {handler.plugin} FILE }} in the block at the top"
        warn(Diagnostic(Code.ZS0102, message, span, help=cure))
    elif known is not None and isinstance(handler, tree.AttachPlugin) and not list_hooks(functions):
        message = f"plugin {handler.plugin} has neither request nor response hooks"
        cure = "declare them (ZS_REQUEST, ZS_RESPONSE), or call a function by zeroserve_call"
        warn(Diagnostic(Code.ZS0103, message, span, help=cure))
    elif known is not None and isinstance(handler, tree.CallPlugin):
        hook = next((one.hook for one in functions if one.name == handler.function), None)
        if hook is None:
            message = f"plugin {handler.plugin} exports no function {handler.function}"
            names = ", ".join(list_callable(functions)) or f"nothing: write zeroserve_plugin {handler.plugin}"
            warn(Diagnostic(Code.ZS0103, message, span, help=f"call {names}"))
        elif hook is not Hook.FUNCTION:
            message = (
                f"{handler.function} of plugin {handler.plugin} is a {hook.value} hook, which no route calls"
            )
            cure = f"write zeroserve_plugin {handler.plugin}, which runs its hooks"
            warn(Diagnostic(Code.ZS0103, message, span, help=cure))
    may_proxy = abi.Capability.PROXY in read_capabilities(entry)
    upstreams = list_upstreams(entry) if may_proxy else ()
    if isinstance(handler, tree.AttachPlugin):
        return expand_attachment(handler, handler.plugin, functions, upstreams, span)
    return replace(handler, upstreams=upstreams)


def find_faults(configuration: tree.Configuration, read_file: ReadFile) -> tuple[Diagnostic, ...]:
    """Return what is wrong with the plugins of a configuration without errors, and with calls of them."""
    found: list[Diagnostic] = []
    entries = list_plugins(configuration.options)
    drafted = draft_plugins(configuration.options, read_file, found.append)
    for site in expand_named_routes(configuration).sites:
        for handler, span in _find_calls((*site.routes, *site.errors)):
            resolve_plugin(handler, entries, drafted, found.append, span)
    return tuple(dict.fromkeys(found))


def _find_calls(routes: Iterable[tree.Route]) -> Iterator[tuple[tree.CallPlugin | tree.AttachPlugin, Span]]:
    for route in routes:
        for handler in route.handlers:
            match handler:
                case tree.CallPlugin() | tree.AttachPlugin():
                    yield handler, route.span
                case tree.Subroute(inner, errors):
                    yield from _find_calls((*inner, *errors))
                case tree.Intercept(handlers=answers) | tree.ReverseProxy(response_handlers=answers):
                    yield from _find_calls(inner for one in answers for inner in one.routes)
