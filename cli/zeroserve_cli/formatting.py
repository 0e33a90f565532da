"""`zeroserve fmt`: format a Caddyfile as `caddy fmt` does."""

from __future__ import annotations

import argparse
from pathlib import Path

from zeroserve_ir.caddyfile import commands

from zeroserve_cli.reporting import print_result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the path and what to do with the formatted text."""
    parser.add_argument(
        "path",
        type=Path,
        nargs="?",
        default=Path("Caddyfile"),
        help="Caddyfile to format; - for standard input",
    )
    parser.add_argument("-w", "--overwrite", action="store_true", help="write the formatted text back")
    parser.add_argument("-d", "--diff", action="store_true", help="print the lines that change")


def run(arguments: argparse.Namespace) -> int:
    """Print or write the formatted text; fails where a printed file was not formatted, as Caddy does."""
    result = commands.fmt(arguments.path, overwrite=arguments.overwrite, diff=arguments.diff)
    code = print_result(result)
    return code or int(result.changed and not arguments.overwrite)
