"""`zeroserve cache purge`: make a running server forget answers that it keeps."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from zeroserve_dataplane.agent.administering import AdminError, send_command

from zeroserve_cli.embedding import find_admin_socket
from zeroserve_cli.main import EXIT_FAILED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is to be forgotten, and the server's socket."""
    parser.add_argument("action", choices=("purge",), help="forget kept answers")
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument(
        "target",
        nargs="?",
        metavar="TARGET",
        help="scheme://host/uri, or the text of a `key`; with * at its end all that begin so",
    )
    wanted.add_argument("--all", action="store_true", help="forget everything")
    parser.add_argument("--admin", type=Path, default=find_admin_socket(), help="admin socket of the server")


def run(arguments: argparse.Namespace) -> int:
    """Purge; returns 0 once nothing of it is served any more."""
    target = "" if arguments.all else arguments.target
    try:
        answer = asyncio.run(send_command(arguments.admin, {"command": "purge", "target": target}))
    except AdminError as error:
        print(f"zeroserve: {error}", file=sys.stderr)
        return EXIT_FAILED
    if not answer.get("ok"):
        print(f"zeroserve: {answer.get('error', 'refused')}", file=sys.stderr)
        return EXIT_FAILED
    print(f"{answer.get('answers', 0)} answers forgotten")
    return 0
