"""What the upstreams of a Caddyfile dial.

In: upstreams as they are written. Out: a message of endpoints, findings about what cannot be dialled. Who
calls: `drafting_sites`. Rule: an address without host is this machine, as Go's dialer has it (net.Dial), and
the path of a Unix socket begins in the folder where the process runs.
"""

from __future__ import annotations

from collections.abc import Callable

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.caddyfile.connecting import resolve_socket_path
from zeroserve_ir.caddyfile.meaning.upstreams import split_host_port
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, Severity
from zeroserve_ir.program.clusters import EndpointsSource, build_source
from zeroserve_ir.sources import Span
from zeroserve_ir.tree import Upstream

THIS_MACHINE = "0.0.0.0"
"""Connecting to it is connecting to the loopback address; the engine shows no host for it."""


def make_endpoints(source: EndpointsSource, span: Span, report: Callable[[Diagnostic], None]) -> pb.Endpoints:
    """Return the endpoints of one set of upstreams."""
    message = pb.Endpoints(name=source.name, sources=map(build_source, source.sources))
    for upstream in source.upstreams:
        if upstream.service is not None or not _add(message, upstream):
            text = f"upstream {upstream.dial} cannot be dialled"
            report(Diagnostic(Code.ZS0110, text, span, help="write HOST:PORT, or unix/PATH"))
        elif not upstream.dial:
            text = "upstream is empty and refuses every request"
            cure = "set the variable that it is made of"
            report(Diagnostic(Code.ZS0103, text, span, help=cure, severity=Severity.WARNING))
    return message


def _add(message: pb.Endpoints, upstream: Upstream) -> bool:
    """Add what an upstream dials; whether it can be dialled."""
    dial = upstream.dial
    if dial.startswith("unix/"):
        written = dial.removeprefix("unix/")
        path = None if "{" in written else resolve_socket_path(written)
        if path is not None:
            message.endpoints.add(address=path, name=written)
        return path is not None
    host, port = split_host_port(dial)
    if "{" in dial:
        # Where the port alone differs by request, the agent resolves the name.
        if host and "{" not in host:
            message.endpoints.add(address=host, name=host)
        return True
    if not dial:
        message.endpoints.add(address=THIS_MACHINE)
        return True
    if "/" in host or not port.isdecimal():
        return False
    message.endpoints.add(address=host or THIS_MACHINE, port=int(port), name=host)
    return True
