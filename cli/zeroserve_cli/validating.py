"""`zeroserve validate`: check a Caddyfile and print every finding."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from zeroserve_ir import tree
from zeroserve_ir.caddyfile import commands
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.drafting_plugins import find_faults
from zeroserve_ir.oversizing import find_oversized

from zeroserve_cli.caddyfiles import add_config_argument
from zeroserve_cli.reporting import print_result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the path of the Caddyfile."""
    add_config_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read, print, and fail where a finding is an error."""
    return print_result(commands.validate(arguments.config, os.environ, _judge))


def _judge(configuration: tree.Configuration) -> Iterator[Diagnostic]:
    yield from find_faults(configuration, read_file=lambda path: Path(path).read_bytes())
    yield from find_oversized(configuration)
