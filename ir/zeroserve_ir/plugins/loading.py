"""Bytes of an ELF file to a plugin's program; pure. Strangers' files are read by `reading`, not here."""

from __future__ import annotations

from zeroserve_ir.plugins.linking import link
from zeroserve_ir.plugins.modules import PluginModule
from zeroserve_ir.plugins.objects import read_object


def load(content: bytes) -> PluginModule:
    """Load a plugin; raises PluginError, and nothing else, whatever the bytes are."""
    return link(read_object(content))
