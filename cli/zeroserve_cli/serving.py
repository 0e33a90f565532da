"""`zeroserve agent`: receive snapshots on a node and drive its engine."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
from pathlib import Path

from zeroserve_dataplane.settings import METRICS_PORT, AgentSettings
from zeroserve_ir.collecting import collection_paused

from zeroserve_cli.stores import add_store_argument

DEFAULTS = AgentSettings(operator="", node="")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the agent's settings."""
    parser.add_argument("--operator", required=True, help="gRPC target of the operator's discovery service")
    parser.add_argument("--node", default=os.environ.get("NODE_NAME", ""), help="name of this node")
    parser.add_argument(
        "--zone", default=os.environ.get("NODE_ZONE", ""), help="of this node: its endpoints are preferred"
    )
    parser.add_argument(
        "--engine-socket", type=Path, default=DEFAULTS.engine_socket, help="socket of the supervisor"
    )
    parser.add_argument(
        "--state", type=Path, default=DEFAULTS.state_directory, help="memory-backed, for restarts"
    )
    parser.add_argument("--allow-state-on-disk", action="store_true", help="TLS keys may reach a disk")
    parser.add_argument("--cache", type=Path, default=DEFAULTS.cache_directory, help="compiled programs")
    parser.add_argument(
        "--credentials",
        type=Path,
        default=DEFAULTS.credentials_directory,
        help="directory of ca.crt and token",
    )
    parser.add_argument(
        "--insecure", action="store_true", help="plain text, to an operator on this machine only"
    )
    parser.add_argument("--metrics-address", default="", help="address of probes and metrics")
    parser.add_argument("--metrics-port", type=int, default=METRICS_PORT, help="port of probes and metrics")
    parser.add_argument("--compile-workers", type=int, default=1, help="compile processes")
    add_store_argument(parser)
    parser.add_argument("--log-level", default="INFO", help="least severe messages to log")


def run(arguments: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT."""
    with collection_paused(for_life=True):
        from zeroserve_dataplane.agent.running import run_agent  # noqa: PLC0415
    logging.basicConfig(level=arguments.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    settings = AgentSettings(
        operator=arguments.operator,
        node=arguments.node,
        zone=arguments.zone,
        engine_socket=arguments.engine_socket,
        state_directory=arguments.state,
        allow_state_on_disk=arguments.allow_state_on_disk,
        cache_directory=arguments.cache,
        credentials_directory=None if arguments.insecure else arguments.credentials,
        metrics_address=arguments.metrics_address,
        metrics_port=arguments.metrics_port,
        compile_workers=arguments.compile_workers,
        limit_store=arguments.limit_store,
    )
    asyncio.run(run_agent(settings))
    return 0
