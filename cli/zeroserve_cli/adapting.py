"""`zeroserve adapt`: print a Caddyfile as Caddy's JSON."""

from __future__ import annotations

import argparse
import os

from zeroserve_ir.caddyfile import commands

from zeroserve_cli.caddyfiles import add_config_argument
from zeroserve_cli.reporting import print_result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the path of the Caddyfile."""
    add_config_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read, print, and fail where a finding is an error."""
    return print_result(commands.adapt(arguments.config, os.environ))
