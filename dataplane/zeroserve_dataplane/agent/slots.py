"""Slots: which plugin has which of the engine's counters.

In: Plugin resources. Out: the same with their slot, which the engine counts under and metrics name. Rule: a
slot is given again only when there is no fresh one: a new plugin seldom goes on where another stopped.
"""

from __future__ import annotations

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import make_resource

PLUGIN_SLOTS = 32
"""As the engine has them (metrics.rs); plugins beyond are not counted apart."""


class PluginSlots:
    """Slots by plugin, from 1."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        """Of plugins that are served, or were."""
        self._by_version: dict[str, pb.Resource] = {}

    def place(self, resource: pb.Resource, served: frozenset[str]) -> pb.Resource:
        """Return a Plugin with its slot; `served` are the names of all plugins."""
        slot = self._find(resource.name, served)
        key = f"{resource.version}:{slot}"
        if key not in self._by_version:
            plugin = pb.Plugin.FromString(resource.payload)
            plugin.slot = slot
            self._by_version = {key: entry for key, entry in self._by_version.items() if entry.name in served}
            self._by_version[key] = make_resource(plugin)
        return self._by_version[key]

    def _find(self, name: str, served: frozenset[str]) -> int:
        for slot, owner in self.names.items():
            if owner == name:
                return slot
        slot = len(self.names) + 1
        if slot > PLUGIN_SLOTS:
            slot = next((one for one, owner in self.names.items() if owner not in served), 0)
        if slot:
            self.names[slot] = name
        return slot
