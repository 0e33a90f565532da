"""`zeroserve validate`: check a Caddyfile and print every finding."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from zeroserve_ir.caddyfile import commands
from zeroserve_ir.caddyfile.invoking import expand_named_routes
from zeroserve_ir.diagnostics import Diagnostic, DiagnosticError
from zeroserve_ir.drafting_plugins import find_faults
from zeroserve_ir.program.lowering import lower_site
from zeroserve_ir.tree import Configuration

from zeroserve_cli.caddyfiles import add_config_argument
from zeroserve_cli.reporting import print_result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the path of the Caddyfile."""
    add_config_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read, print, and fail where a finding is an error."""
    return print_result(commands.validate(arguments.config, os.environ, _find_faults))


def _find_faults(configuration: Configuration) -> Iterator[Diagnostic]:
    """Yield what plugins are refused for, and what no program can be made of."""
    yield from find_faults(configuration, read_file=lambda path: Path(path).read_bytes())
    for site in expand_named_routes(configuration).sites:
        try:
            lower_site(site)
        except DiagnosticError as error:
            yield from error.diagnostics
