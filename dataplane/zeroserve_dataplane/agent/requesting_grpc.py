"""gRPC's health protocol: one probe of one endpoint (grpc/doc/health-checking.md, PROTOCOL-HTTP2.md).

In: where to connect. Out: UnhealthyError where the endpoint is not healthy. Who calls: `requesting`.
"""

from __future__ import annotations

from zeroserve_dataplane.agent.requesting import Place, UnhealthyError, connect
from zeroserve_dataplane.agent.requesting_http2 import exchange_http2

QUESTION = b"\0" + (0).to_bytes(4)
"""A message, not compressed, of no bytes: the whole server is asked about."""
SERVING = b"\0" + (2).to_bytes(4) + b"\x08\x01"
"""grpc.health.v1.HealthCheckResponse with status SERVING."""
MESSAGE_BYTES_MAX = 1 << 10


async def check_grpc(place: Place) -> None:
    """Ask grpc.health.v1.Health/Check for the whole server. UnhealthyError, OSError, EOFError, ValueError."""
    reader, writer, http2 = await connect(place)
    try:
        if place.tls is not None and not http2:
            raise UnhealthyError("HTTP/2 was not chosen (ALPN)")
        fields = [
            (":method", "POST"),
            (":scheme", "https" if place.tls is not None else "http"),
            (":authority", place.name),
            (":path", "/grpc.health.v1.Health/Check"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ]
        answer = await exchange_http2(reader, writer, fields, QUESTION, MESSAGE_BYTES_MAX)
    finally:
        writer.close()
    code = answer.fields.get("grpc-status", "0")
    if answer.status != 200 or code != "0":
        raise UnhealthyError(f"status {answer.status}, gRPC status {code}")
    if answer.body != SERVING:
        raise UnhealthyError("gRPC health is not SERVING")
