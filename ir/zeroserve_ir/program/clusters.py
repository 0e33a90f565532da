"""Clusters and their endpoints' names, from `reverse_proxy` handlers.

In: `tree.ReverseProxy`. Out: the Cluster message with a readable name that is unique for its content, so
that handlers with the same upstreams and transport share connections, and the endpoints that it needs.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.tree import DEFAULT_TRANSPORT, ReverseProxy, Selection, Upstream

_BALANCING = {
    Selection.RANDOM: pb.RANDOM,
    Selection.ROUND_ROBIN: pb.ROUND_ROBIN,
    Selection.LEAST_CONNECTIONS: pb.LEAST_CONNECTIONS,
    Selection.FIRST: pb.FIRST,
    Selection.IP_HASH: pb.CLIENT_IP_HASH,
    Selection.CLIENT_IP_HASH: pb.CLIENT_IP_HASH,
    Selection.URI_HASH: pb.URI_HASH,
}


KEEPALIVE_OFF_MS = 1
"""An upstream connection that idles so long is not used again: `keepalive off`."""


@dataclass(frozen=True, slots=True)
class EndpointsSource:
    """Endpoints that a snapshot must hold under `name`, and the upstreams that they come from."""

    name: str
    upstreams: tuple[Upstream, ...]


def name_endpoints(upstreams: tuple[Upstream, ...]) -> EndpointsSource:
    """Name the endpoints of upstreams: `namespace/service:port`, `static:address`, joined by commas."""
    names = (
        f"{upstream.service.namespace}/{upstream.service.name}:{upstream.service.port}"
        if upstream.service
        else f"static:{upstream.dial}"
        for upstream in upstreams
    )
    return EndpointsSource(",".join(names), upstreams)


def build_cluster(proxy: ReverseProxy) -> pb.Cluster:
    """Return the cluster of a handler, whose CA files were read into `trusted_ca_pem` before."""
    transport = proxy.transport
    cluster = pb.Cluster(
        endpoints=name_endpoints(proxy.upstreams).name,
        balancing=_BALANCING[proxy.selection],
        connect_timeout_ms=transport.dial_timeout_ms,
        response_head_timeout_ms=transport.response_header_timeout_ms,
        read_timeout_ms=transport.read_timeout_ms,
        write_timeout_ms=transport.write_timeout_ms,
        keepalive_timeout_ms=transport.keepalive_ms if transport.keepalive_ms >= 0 else KEEPALIVE_OFF_MS,
        retries=proxy.retries,
        try_duration_ms=proxy.try_duration_ms,
    )
    if transport.tls is not None:
        cluster.tls.server_name = transport.tls.server_name
        cluster.tls.insecure_skip_verify = transport.tls.insecure_skip_verify
        cluster.tls.trusted_ca.extend(_read_der(transport.tls.trusted_ca_pem))
    plain = transport == DEFAULT_TRANSPORT and not proxy.retries and not proxy.try_duration_ms
    readable = cluster.endpoints if len(cluster.endpoints) <= 200 else cluster.endpoints[:200] + "…"
    if plain and proxy.selection is Selection.RANDOM and readable == cluster.endpoints:
        cluster.name = readable
    else:
        digest = hashlib.sha256(cluster.SerializeToString(deterministic=True)).hexdigest()
        cluster.name = f"{readable}#{digest[:12]}"
    return cluster


def _read_der(pem: str) -> list[bytes]:
    blocks = re.findall(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", pem, re.DOTALL)
    return [base64.b64decode(block) for block in blocks]
