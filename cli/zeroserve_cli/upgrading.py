"""`zeroserve upgrade`: replace the engine of a running server by the binary that is installed now."""

from __future__ import annotations

import argparse

from zeroserve_cli.asking import add_admin_argument, ask_server


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the server's socket."""
    add_admin_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Upgrade; returns 0 once the new engine serves, while the former one finishes what runs."""
    return ask_server(
        arguments.admin,
        {"command": "upgrade"},
        lambda answer: f"engine {answer.get('version', '')} serves as process {answer.get('pid', '')}",
    )
