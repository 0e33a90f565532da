"""gRPC's health protocol: one probe of one endpoint.

In: where to connect. Out: UnhealthyError where the endpoint is not healthy. Who calls: `requesting`.
"""

from __future__ import annotations

import grpc
import grpc.aio
from zeroserve_ir.host_names import spell_authority

from zeroserve_dataplane.agent.requesting import Place, UnhealthyError

SERVING = b"\x08\x01"
"""grpc.health.v1.HealthCheckResponse with status SERVING."""


async def check_grpc(place: Place) -> None:
    """Ask grpc.health.v1.Health/Check for the whole server; plain text only."""
    target = f"{spell_authority(place.host)}:{place.port}"
    async with grpc.aio.insecure_channel(target) as channel:
        call = channel.unary_unary("/grpc.health.v1.Health/Check", bytes, bytes)
        try:
            answer = await call(b"")
        except grpc.aio.AioRpcError as error:
            raise UnhealthyError(f"gRPC status {error.code().name}") from error
    if bytes(answer) != SERVING:
        raise UnhealthyError("gRPC health is not SERVING")
