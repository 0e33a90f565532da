"""`zeroserve cache purge`: make a running server forget answers that it keeps."""

from __future__ import annotations

import argparse

from zeroserve_cli.asking import add_admin_argument, ask_server


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
    add_admin_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Purge; returns 0 once nothing of it is served any more."""
    target = "" if arguments.all else arguments.target
    return ask_server(
        arguments.admin,
        {"command": "purge", "target": target},
        lambda answer: f"{answer.get('answers', 0)} answers forgotten",
    )
