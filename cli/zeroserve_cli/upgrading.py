"""`zeroserve upgrade`: replace the engine of a running server by the binary that is installed now."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from zeroserve_dataplane.agent.administering import AdminError, send_command

from zeroserve_cli.embedding import find_admin_socket
from zeroserve_cli.main import EXIT_FAILED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the server's socket."""
    parser.add_argument("--admin", type=Path, default=find_admin_socket(), help="admin socket of the server")


def run(arguments: argparse.Namespace) -> int:
    """Upgrade; returns 0 once the new engine serves, while the former one finishes what runs."""
    try:
        answer = asyncio.run(send_command(arguments.admin, {"command": "upgrade"}))
    except AdminError as error:
        print(f"zeroserve: {error}", file=sys.stderr)
        return EXIT_FAILED
    if not answer.get("ok"):
        print(f"zeroserve: {answer.get('error', 'refused')}", file=sys.stderr)
        return EXIT_FAILED
    print(f"engine {answer.get('version', '')} serves as process {answer.get('pid', '')}")
    return 0
