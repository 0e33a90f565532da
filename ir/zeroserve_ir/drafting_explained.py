"""The twin of a virtual host whose program reports its steps (`zeroserve run --explain-key`).

In: a virtual host. Out: one without a program yet, under a name that no client can ask for. Called by
`drafting_sites`; the engine finds it by that name for requests with a signed debug header.
"""

from __future__ import annotations

from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.diagnostics import DiagnosticError
from zeroserve_ir.program.lowering import LoweredSite, lower_site


def make_explained_host(host: pb.VirtualHost) -> pb.VirtualHost:
    """Return the host that answers in a host's stead when a request is explained."""
    name = f"explained {host.name}"
    return pb.VirtualHost(name=name, hosts=[name], listeners=host.listeners)


def lower_explained(site: tree.Site) -> LoweredSite | None:
    """Return the site's program with its steps; None where it grows too large for them."""
    try:
        return lower_site(site, explained=True)
    except DiagnosticError:
        return None
