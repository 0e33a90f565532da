"""Streams: ports of the data plane that lead to a Service unread (ingress-nginx: tcp-services, udp-services).

In: settings. Out: for each its listener and host, and the endpoints it needs. Rule: a port whose Service is
not there is open and closes what comes: the next Pod of that Service serves it.
"""

from __future__ import annotations

import re

from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import make_resource
from zeroserve_ir.program.lowering import lower_site

from zeroserve_operator.drafting import DraftedHost, draft_lowered
from zeroserve_operator.rendering import STREAM_RETRIES
from zeroserve_operator.settings import StreamSettings

_TARGET = re.compile(
    r"(?P<namespace>[a-z0-9-]+)/(?P<name>[a-z0-9-]+):(?P<port>[a-z0-9-]+)"
    r"(:(?P<reads>PROXY)?(:(?P<writes>PROXY)?)?)?"
)
PORT_MAX = 65_535
PORT_FREE_MIN = 1024
LOW_PORT_OFFSET = 20_000
"""The chart adds the same."""


def read_stream(text: str, *, datagrams: bool, local: bool = False) -> StreamSettings:
    """Read `PORT=NAMESPACE/SERVICE:PORT[:PROXY][:PROXY]`, as ingress-nginx writes it.

    ValueError says what is wrong. `local`: without a cluster low ports are bound as they are.
    """
    number, _, target = text.partition("=")
    found = _TARGET.fullmatch(target)
    if not number.isdecimal() or not 1 <= int(number) <= PORT_MAX or found is None:
        raise ValueError(f"{text!r} is not PORT=NAMESPACE/SERVICE:PORT[:PROXY][:PROXY]")
    reads, writes = found["reads"] is not None, found["writes"] is not None
    if datagrams and (reads or writes):
        raise ValueError(f"{text!r}: datagrams have no PROXY header")
    port = f"{found['port']}/UDP" if datagrams else found["port"]
    service = tree.ServiceReference(found["namespace"], found["name"], port)
    bound = int(number) if local or int(number) >= PORT_FREE_MIN else int(number) + LOW_PORT_OFFSET
    return StreamSettings(int(number), service, bound, datagrams, reads_header=reads, writes_header=writes)


def draft_stream(stream: StreamSettings) -> DraftedHost:
    """Return the listener, and the host that sends all of its clients to the Service."""
    service = stream.service
    handler = tree.ReverseProxy(
        upstreams=(tree.Upstream(f"{service.name}.{service.namespace}.svc:{stream.port}", service),),
        selection=tree.SelectionPolicy(tree.Selection.ROUND_ROBIN),
        retries=STREAM_RETRIES,
        transport=tree.HttpTransport(proxy_protocol="v1" if stream.writes_header else ""),
    )
    address = tree.SiteAddress(tree.Scheme.HTTPS, "", stream.port)
    lowered = lower_site(tree.Site((address,), (tree.Route((handler,)),)))
    listener = pb.Listener(
        name=stream.name,
        address=stream.address,
        port=stream.bound_port,
        external_port=stream.port,
        proxy_protocol=stream.reads_header,
        transport=pb.UDP if stream.datagrams else pb.TCP,
    )
    host = pb.VirtualHost(
        name=f"stream://*@{stream.name}",
        hosts=[""],
        listeners=[stream.name],
        stream=pb.PASS_THROUGH,
        judges_streams=True,
    )
    return DraftedHost((make_resource(listener), *draft_lowered(host, lowered)), tuple(lowered.endpoints))
