"""`zeroserve reload`: give a running server its configuration again, or another one."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from zeroserve_dataplane.agent.administering import AdminError, send_command

from zeroserve_cli.embedding import find_admin_socket
from zeroserve_cli.main import EXIT_FAILED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the configuration and the server's socket."""
    parser.add_argument("-c", "--config", type=Path, help="Caddyfile to serve; default: the one served now")
    parser.add_argument("--admin", type=Path, default=find_admin_socket(), help="admin socket of the server")


def run(arguments: argparse.Namespace) -> int:
    """Reload; returns 0 once the new configuration is served."""
    config = str(arguments.config.resolve()) if arguments.config else ""
    try:
        answer = asyncio.run(send_command(arguments.admin, {"command": "reload", "config": config}))
    except AdminError as error:
        print(f"zeroserve: {error}", file=sys.stderr)
        return EXIT_FAILED
    if not answer.get("ok"):
        print(answer.get("error", "refused"), file=sys.stderr)
        return EXIT_FAILED
    print(f"serving {answer.get('served', '')}")
    return 0
