"""A command to a running server, by its admin socket.

In: the server's socket and a command. Out: the answer on standard output, or why there is none on standard
error. Who calls: the subcommands that change a server without starting one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zeroserve_dataplane.agent.commanding import AdminError, send_command

from zeroserve_cli.admin_sockets import find_admin_socket, require_own_folder
from zeroserve_cli.main import EXIT_FAILED


def add_admin_argument(parser: argparse.ArgumentParser) -> None:
    """Add the server's socket."""
    parser.add_argument("--admin", type=Path, default=find_admin_socket(), help="admin socket of the server")


def ask_server(
    socket: Path,
    command: Mapping[str, Any],
    show: Callable[[Mapping[str, Any]], str],
    refusal_prefix: str = "zeroserve: ",
) -> int:
    """Send a command and print what `show` makes of its answer; returns the exit code.

    A refusal that is a diagnostic has a form of its own: `refusal_prefix` is "" for those.
    """
    try:
        require_own_folder(socket)
        answer = send_command(socket, command)
    except AdminError as error:
        print(f"zeroserve: {error}", file=sys.stderr)
        return EXIT_FAILED
    if not answer.get("ok"):
        print(f"{refusal_prefix}{answer.get('error', 'refused')}", file=sys.stderr)
        return EXIT_FAILED
    print(show(answer))
    return 0
