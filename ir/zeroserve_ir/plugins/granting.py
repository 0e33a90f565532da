"""What a plugin may do, and the resources that it becomes with that: Program and Plugin.

In: a module, and what its owner grants (a ZeroservePlugin object, or the option `plugins` of a Caddyfile).
Out: resources for a snapshot. The rule: nothing is granted unless it is named.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import make_resource
from zeroserve_ir.plugins.modules import PluginModule
from zeroserve_ir.program import abi
from zeroserve_ir.program.encoding import scan
from zeroserve_ir.program.isa import CallHelper

CAPABILITIES: Final = {str(one.name).lower(): one for one in abi.Capability}
"""By the names that people write."""
NO_CAPABILITY: Final = abi.Capability(0)


@dataclass(frozen=True, slots=True)
class GrantedUpstream:
    """An upstream that a plugin may reach: the plugin's name for it, the Cluster, and the Host to send."""

    name: str
    cluster: str
    host: str = ""


@dataclass(frozen=True, slots=True)
class GrantedSecret:
    """A secret that a plugin may read."""

    name: str
    value: bytes

    def __repr__(self) -> str:
        return f"GrantedSecret({self.name!r}, {len(self.value)} bytes)"


@dataclass(frozen=True, slots=True)
class Grants:
    """All that a plugin is granted; 0 is the engine's default for numbers."""

    capabilities: abi.Capability = NO_CAPABILITY
    fuel: int = 0
    fail_open: bool = False
    values_max: int = 0
    value_bytes_max: int = 0
    body_bytes_max: int = 0
    upstreams: tuple[GrantedUpstream, ...] = ()
    secrets: tuple[GrantedSecret, ...] = ()
    fetch_timeout_ms: int = 0


def find_needs(module: PluginModule) -> abi.Capability:
    """Return the capabilities that the helpers need which the code calls."""
    needs = NO_CAPABILITY
    for slot in scan(module.code):
        helper = abi.BY_NUMBER.get(slot.number) if isinstance(slot, CallHelper) else None
        if helper is not None and helper.capability is not None:
            needs |= helper.capability
    return needs


def name_capabilities(capabilities: abi.Capability) -> tuple[str, ...]:
    """Return the names that people write, in the order of the bits."""
    return tuple(name for name, one in CAPABILITIES.items() if one in capabilities)


def draft_plugin(name: str, namespace: str, module: PluginModule, grants: Grants) -> tuple[pb.Resource, ...]:
    """Return the Program and the Plugin of a module, for a snapshot."""
    program = pb.Program(
        name=hashlib.sha256(module.code).hexdigest(),
        code=module.code,
        abi=abi.ABI_VERSION,
        lines=[
            pb.DebugLine(instruction=each.slot, place=f"{each.file}:{each.line}") for each in module.lines
        ],
    )
    plugin = pb.Plugin(
        name=name,
        namespace=namespace,
        program=program.name,
        data=module.data,
        heap_bytes=len(module.data) + module.bss_bytes,
        functions=[pb.PluginFunction(name=each.name, entry=each.entry) for each in module.functions],
        capabilities=int(grants.capabilities),
        fuel=grants.fuel,
        fail_open=grants.fail_open,
        values_max=grants.values_max,
        value_bytes_max=grants.value_bytes_max,
        body_bytes_max=grants.body_bytes_max,
        upstreams=[
            pb.PluginUpstream(name=each.name, cluster=each.cluster, host=each.host)
            for each in grants.upstreams
        ],
        secrets=[pb.PluginSecret(name=each.name, value=each.value) for each in grants.secrets],
        fetch_timeout_ms=grants.fetch_timeout_ms,
    )
    return make_resource(program), make_resource(plugin)
