"""`zeroserve run`: serve a Caddyfile until stopped.

The compiler starts here, beside the imports of all else: together they are most of a first start.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from zeroserve_dataplane.jit.foreseeing import Foresight
from zeroserve_ir.collecting import collection_paused

from zeroserve_cli.serving_options import add_serving_arguments
from zeroserve_cli.signing import add_key_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the Caddyfile and how it is served."""
    parser.add_argument("-c", "--config", type=Path, default=Path("Caddyfile"), help="Caddyfile to serve")
    parser.add_argument("-w", "--watch", action="store_true", help="serve the file's changes at once")
    add_key_argument(parser)
    add_serving_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve; a configuration with an error is not served."""
    with Foresight(arguments.config) as foresight:
        with collection_paused(for_life=True):
            # Loaded while the compiler starts.
            from zeroserve_cli.serving_caddyfiles import serve_caddyfile  # noqa: PLC0415
        return serve_caddyfile(arguments, foresight)
