"""`zeroserve reload`: give a running server its configuration again, or another one."""

from __future__ import annotations

import argparse
from pathlib import Path

from zeroserve_cli.asking import add_admin_argument, ask_server


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the configuration and the server's socket."""
    parser.add_argument("-c", "--config", type=Path, help="Caddyfile to serve; default: the one served now")
    add_admin_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Reload; returns 0 once the new configuration is served."""
    config = str(arguments.config.resolve()) if arguments.config else ""
    return ask_server(
        arguments.admin,
        {"command": "reload", "config": config},
        lambda answer: f"serving {answer.get('served', '')}",
        refusal_prefix="",
    )
