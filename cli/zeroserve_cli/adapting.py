"""`zeroserve adapt`: print a Caddyfile as Caddy's JSON."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from zeroserve_ir.caddyfile import commands

from zeroserve_cli.reporting import print_result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the path of the Caddyfile."""
    parser.add_argument(
        "-c", "--config", type=Path, default=Path("Caddyfile"), help="Caddyfile to read; - for standard input"
    )


def run(arguments: argparse.Namespace) -> int:
    """Read, print, and fail where a finding is an error."""
    return print_result(commands.adapt(arguments.config, os.environ))
