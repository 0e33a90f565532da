"""`--config`: the Caddyfile that a command reads and does not serve."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """Add the path of the Caddyfile."""
    parser.add_argument(
        "-c", "--config", type=Path, default=Path("Caddyfile"), help="Caddyfile to read; - for standard input"
    )
