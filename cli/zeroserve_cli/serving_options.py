"""Arguments of the commands that serve in this process tree: `zeroserve run` and `zeroserve dev`.

Rule: imports next to nothing; `running` starts the compiler once these are read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from zeroserve_dataplane.settings import EmbeddedSettings

from zeroserve_cli.admin_sockets import ADMIN_OFF, find_admin_socket
from zeroserve_cli.stores import add_store_argument


def add_serving_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what both commands take."""
    parser.add_argument(
        "--workers", type=int, default=0, help="threads of the engine; 0 is one for each core"
    )
    parser.add_argument(
        "--io", choices=["auto", "io_uring", "epoll"], default="auto", help="backend of the engine"
    )
    parser.add_argument(
        "--admin",
        type=Path,
        default=find_admin_socket(),
        help="Unix socket for `zeroserve reload`; off for none",
    )
    parser.add_argument(
        "--metrics-port", type=int, default=-1, help="serve /metrics on this port of 127.0.0.1; -1 for none"
    )
    add_store_argument(parser)


def make_settings(arguments: argparse.Namespace) -> EmbeddedSettings:
    """Return the node's settings from the arguments of `add_serving_arguments`."""
    return EmbeddedSettings(
        workers=arguments.workers,
        io=arguments.io,
        admin_socket=None if arguments.admin == ADMIN_OFF else arguments.admin,
        metrics_port=arguments.metrics_port,
        limit_store=arguments.limit_store,
    )
