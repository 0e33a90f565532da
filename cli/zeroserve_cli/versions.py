"""`zeroserve version`: the versions of package, ABI, engine and compiler."""

from __future__ import annotations

import argparse
from importlib import metadata

from zeroserve_ir.program.abi import ABI_VERSION


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no argument."""


def run(_arguments: argparse.Namespace) -> int:
    """Print one line per part."""
    print(f"zeroserve-ingress {metadata.version('zeroserve-ingress')} (program ABI {ABI_VERSION})")
    for package, role in (("zeroserve-engine", "engine"), ("llvmlite", "compiler"), ("kopf", "operator")):
        try:
            print(f"{package} {metadata.version(package)} ({role})")
        except metadata.PackageNotFoundError:
            print(f"{package} is not installed ({role})")
    return 0
